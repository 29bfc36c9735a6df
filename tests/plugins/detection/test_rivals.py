"""Boxes of one phrase held against each other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from chiasm_plugins.detection.rivals import COLOURS, MOST, Compared, Rivals, colours_in, leading, plausible, settled
from plugins.detection.making import SLOTS, WIDTH, head, routes, scene
from torch import Tensor

torch.set_num_threads(1)
FEATURES = 8


def compared(boxes: Tensor, colour: Tensor | None = None) -> Compared:
    p, n = boxes.shape[:2]
    colours = torch.zeros(p, n, 3 * COLOURS**2) if colour is None else colour.repeat_interleave(COLOURS**2, 2)
    return Compared(boxes, torch.zeros(p, n, FEATURES), colours, torch.zeros(p, n), torch.ones(p, n, dtype=torch.bool))


def test_until_something_is_learned_scores_stay() -> None:
    boxes = torch.rand(3, 5, 4)
    assert not Rivals(SLOTS, WIDTH, FEATURES)(torch.randn(3, SLOTS, WIDTH), compared(boxes)).any()


def test_a_score_does_not_depend_on_padding_nor_on_other_phrases() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        rivals = Rivals(SLOTS, WIDTH, FEATURES).eval()
        torch.nn.init.normal_(rivals.more.weight)
        boxes, slots = torch.rand(3, 5, 4), torch.randn(3, SLOTS, WIDTH)
    asked = compared(boxes)
    asked.there[1, 2:] = False
    asked.there[2] = False  # a phrase without any candidate
    with torch.no_grad():
        together = rivals(slots, asked)
        alone = rivals(slots[1:2], Compared(*(part[1:2, :2] for part in asked)))
    torch.testing.assert_close(together[1:2, :2], alone)
    assert torch.isfinite(together).all()


def test_it_learns_which_is_meant() -> None:
    """Three boxes anywhere, their colours anything; the slots say «leftmost», «largest» or «reddest»."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        rivals = Rivals(1, 3, FEATURES)
        optimizer = torch.optim.AdamW(rivals.parameters(), lr=2e-3)
        for _ in range(150):
            asked, slots, wanted = puzzles(128)
            loss = F.binary_cross_entropy_with_logits(rivals(slots, asked), F.one_hot(wanted, 3).float())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        asked, slots, wanted = puzzles(300)
    with torch.no_grad():
        right = (rivals.eval()(slots, asked).argmax(1) == wanted).float()
    assert right.mean() > 0.8  # by chance 0.33


def puzzles(count: int) -> tuple[Compared, Tensor, Tensor]:
    centre, side = torch.rand(count, 3, 2) * 0.6 + 0.2, torch.rand(count, 3, 1) * 0.3 + 0.05
    colour = torch.rand(count, 3, 3) * 2 - 1
    way = torch.randint(3, (count,))
    measured = torch.stack([-centre[..., 0], side[..., 0], colour[..., 0] - colour[..., 1:].sum(2) / 2], 1)
    wanted = measured[torch.arange(count), way].argmax(1)
    asked = compared(torch.cat([centre - side / 2, centre + side / 2], 2), colour)
    return asked, F.one_hot(way, 3).float()[:, None], wanted


def test_colours_are_read_in_the_middle_of_a_box() -> None:
    pixels = torch.zeros(1, 3, 40, 40)
    pixels[0, 0, :, 20:] = 1.0
    left, right = colours_in(pixels, torch.tensor([[[0.0, 0.0, 0.5, 1.0], [0.5, 0.5, 1.0, 1.0]]]))[0]
    assert left.reshape(-1, 3).round().unique(dim=0).tolist() == [[-1, -1, -1]]
    assert right.reshape(-1, 3).round().unique(dim=0).tolist() == [[1, -1, -1]]


def test_the_best_that_stay_come_first() -> None:
    stay = torch.zeros(2, 40, dtype=torch.bool)
    stay[0, [3, 9, 30]] = True
    stay[1] = True
    places, there = leading(stay)
    assert places[0, :3].tolist() == [3, 9, 30]
    assert there.sum(1).tolist() == [3, MOST]
    assert plausible(torch.tensor([-9.0, 0.0])).tolist() == [False, True]


def test_where_boxes_are_told_apart_one_remains() -> None:
    """A name's boxes keep the little that is added; of «the left dog» only the box that comes out best is left."""
    logits = torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
    more = torch.tensor([[0.1, 0.0, 5.0], [-2.0, 1.5, 5.0]])
    there = torch.tensor([[True, True, False], [True, True, False]])
    found = settled(logits, more, there)
    torch.testing.assert_close(found[0], torch.tensor([2.1, 1.0, 0.0]))
    assert found[1].tolist() == [-torch.inf, 2.5, 0.0]


def test_what_the_comparison_adds_moves_scores_and_their_order_is_kept() -> None:
    """A comparison that takes from every box lowers the best of them; boxes come best first all the same."""
    decoder = head()
    with torch.no_grad():
        decoder.prototypes[:, 96::97] = 0.0  # plausible everywhere
    asked = routes(2, threshold=0.05)
    before = decoder.decode(scene(), asked)
    with torch.no_grad():
        decoder.rivals.more.bias.fill_(-1.0)
    after = decoder.decode(scene(), asked)
    assert max(b.score or 0 for b in after[0].items[:MOST]) < max(b.score or 0 for b in before[0].items)
    assert [item.score for item in after[0].items] == sorted((item.score for item in after[0].items), reverse=True)  # type: ignore[type-var]
