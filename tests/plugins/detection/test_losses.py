"""The training losses: finite whatever a batch holds, smaller for a better prediction, felt where they should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from chiasm_plugins.detection.boxes import pairwise_iou
from chiasm_plugins.detection.decoder import BINS, PROTOTYPES, WIDTH, Judged, Located
from chiasm_plugins.detection.losses import LossWeights, detection_losses
from chiasm_plugins.detection.rivals_loss import best_loss
from chiasm_plugins.detection.targets import BoxTarget
from chiasm_registry import Route, Scene
from plugins.detection.making import VIEW, head, routes, scene
from plugins.detection.test_decoder import published
from torch import Tensor

torch.set_num_threads(1)

BOX = (20.0, 24.0, 76.0, 72.0)
NONE = torch.zeros(0, 4)


def target(*boxes: Sequence[float], ignored: Sequence[Sequence[float]] = (), meaning: Sequence[str] = ()) -> BoxTarget:
    return BoxTarget(torch.tensor(boxes).reshape(-1, 4), torch.tensor(ignored).reshape(-1, 4).float(), tuple(meaning))


def asked(*counts: int) -> list[list[Route]]:
    return [routes(count, seed=k) for k, count in enumerate(counts)]


def learning(*counts: int) -> list[list[Route]]:
    """Routes whose slots want a gradient."""
    nested = asked(*counts)
    for route in (route for of_image in nested for route in of_image):
        route.slots.requires_grad_(True)
    return nested


TARGETS = {
    "one box": [[target(BOX, meaning=["cat"])]],
    "many boxes of many phrases": [[target(BOX, (2.0, 2.0, 30.0, 40.0)), target((60.0, 60.0, 128.0, 128.0)), target()]],
    "nothing at all": [[target(), target()]],
    "only a group": [[target(ignored=[BOX])]],
    "uneven batch": [[target(BOX)], [target(), target(BOX), target(ignored=[BOX])], [target()]],
    "a box of no size": [[target((9.0, 9.0, 9.0, 9.0))]],
    "a box of the whole picture": [[target((0.0, 0.0, 128.0, 128.0), meaning=["cat", "dog"])]],
}


@pytest.mark.parametrize("taught", [False, True], ids=["alone", "with a teacher"])
@pytest.mark.parametrize("case", TARGETS)
def test_losses_are_finite_and_reach_the_slots(case: str, taught: bool) -> None:
    """Every part is a finite scalar, and slots, question and edges get finite gradients."""
    targets = TARGETS[case]
    decoder, nested = head(), learning(*map(len, targets))
    decoder.prepare({}, published() if taught else {})
    views = [scene(seed=k) for k in range(len(targets))]
    views = [Scene(v.size_hw, v.maps, v.view, reference_maps=v.maps) for v in views]
    losses = decoder.loss(views, nested, targets)
    parts = {"score", "overlap", "distribution", "presence", "rivals"} | ({"distances", "naming"} if taught else set())
    assert set(losses) == parts
    for loss in losses.values():
        assert loss.shape == ()
        assert torch.isfinite(loss)
        assert loss >= 0
    torch.stack(list(losses.values())).sum().backward()
    wanted = [route.slots for of_image in nested for route in of_image]
    wanted += [*decoder.ask.parameters(), *decoder.edges.parameters(), *decoder.towers.parameters(), decoder.prototypes]
    for tensor in wanted:
        assert tensor.grad is None or torch.isfinite(tensor.grad).all()
    assert any(slots.grad is not None and slots.grad.any() for slots in wanted[: sum(map(len, targets))])
    assert decoder.teacher is None or all(p.grad is None for p in decoder.teacher.parameters())


def test_a_frozen_box_head_has_no_box_losses() -> None:
    decoder = head()
    for part in (decoder.towers, decoder.edges):
        part.requires_grad_(False)
    assert set(decoder.loss([scene()], learning(1), [[target(BOX)]])) == {"score", "presence", "rivals"}


def test_the_weights_weigh() -> None:
    decoder, nested, targets = head(), asked(1), [[target(BOX)]]
    plain = decoder.loss([scene()], nested, targets)
    decoder.prepare({"score": 3.0, "overlap": 0.0}, {})
    weighed = decoder.loss([scene()], nested, targets)
    torch.testing.assert_close(weighed["score"], 3 * plain["score"])
    assert weighed["overlap"] == 0
    torch.testing.assert_close(weighed["presence"], plain["presence"])


def test_the_losses_of_a_batch_do_not_depend_on_padding() -> None:
    """Two phrases in one picture and none beside it: a row that only fills the batch counts for nothing."""
    decoder = head()
    nested, targets = asked(2, 1), [[target(BOX), target()], [target()]]
    both = decoder.loss([scene(seed=0), scene(seed=1)], nested, targets)
    alone = decoder.loss([scene(seed=0)], nested[:1], targets[:1])
    torch.testing.assert_close(both["overlap"], alone["overlap"], atol=1e-5, rtol=1e-4)


# Perfection.


def located(decoder_boxes: Tensor, centres: Tensor, strides: Tensor) -> Located:
    """Locations that predict these boxes, their distances told by two neighbouring bins."""
    reach = torch.cat([centres - decoder_boxes[:, :2], decoder_boxes[:, 2:] - centres], -1) / strides[:, None]
    reach = reach.clamp(0, BINS - 1 - 1e-3)
    share = (1 - (reach[..., None] - torch.arange(BINS)).abs()).clamp(min=1e-6)
    distances = share.log().flatten(1)[None].requires_grad_(True)
    return Located([], distances, decoder_boxes[None], centres, strides, (VIEW, VIEW))


def places() -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        found = head().locate([m[None] for m in scene().maps])
    return found.centres, found.strides


class Oracle(SimpleNamespace):
    """Stands for a head that judges as it is told."""

    weights = LossWeights(rivals=0.0)
    teacher = None

    def judge(self, located: Located, slots: Tensor) -> Judged:
        return Judged(self.scores, self.presence, torch.zeros(1, 1, PROTOTYPES))


def losses_of(boxes: Tensor, scores: Tensor, presence: float) -> dict[str, float]:
    centres, strides = places()
    oracle = Oracle(scores=scores[None, None], presence=torch.tensor([[presence]]))
    found = detection_losses(oracle, located(boxes, centres, strides), [scene()], asked(1), [[target(BOX)]])  # type: ignore[arg-type]
    return {name: float(loss.detach()) for name, loss in found.items()}


def test_a_better_prediction_has_smaller_losses() -> None:
    """The true box everywhere inside it and a sure score there, against a shaken box, a blind score, part by part."""
    centres, _ = places()
    truth = torch.tensor([BOX])
    inside = ((centres > truth[:, :2]) & (centres < truth[:, 2:])).all(-1)
    exact = torch.where(inside[:, None], truth, torch.cat([centres, centres + 1], -1))
    shaken = exact + 9 * torch.randn(exact.shape, generator=torch.Generator().manual_seed(0)).abs() * torch.tensor(
        [-1.0, -1.0, 1.0, 1.0]
    )
    learns = inside & (pairwise_iou(truth, exact)[0] > 0.99)
    learns &= learns.cumsum(0) <= 13  # no more of them are assigned to one box
    sure = torch.where(learns, 6.0, -8.0)
    perfect = losses_of(exact, sure, 8.0)
    assert perfect["overlap"] < 1e-4
    worse = {
        "overlap": losses_of(shaken, sure, 8.0),
        "distribution": losses_of(shaken, sure, 8.0),
        "score": losses_of(exact, torch.full_like(sure, -4.0), 8.0),
        "presence": losses_of(exact, sure, -3.0),
    }
    for part, losses in worse.items():
        assert losses[part] > perfect[part] + 1e-3, part


def test_learning_makes_the_losses_smaller() -> None:
    """A few steps of plain descent on one picture."""
    decoder, nested, targets = head(), asked(2), [[target(BOX), target()]]
    optimizer = torch.optim.Adam(decoder.parameters(), 3e-3)
    values = []
    for _ in range(25):
        loss = torch.stack(list(decoder.loss([scene()], nested, targets).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert min(values[-4:]) < 0.93 * values[0]


def test_targets_are_in_pixels_of_the_sample() -> None:
    """A picture of half the view's size with boxes of half the size teaches the same."""
    decoder, nested = head(), asked(1)
    whole = decoder.loss([scene()], nested, [[target(BOX)]])
    half = scene(size_hw=(VIEW // 2, VIEW // 2))
    small = decoder.loss([half], nested, [[target(tuple(edge / 2 for edge in BOX))]])
    for name in whole:
        torch.testing.assert_close(small[name], whole[name])


def test_of_boxes_on_one_thing_the_tighter_is_to_win() -> None:
    """The best box is wanted above all, a slack one hardly; where none is near enough, nothing is asked."""
    logits = torch.zeros(1, 3, 4, requires_grad=True)
    overlap = torch.tensor([[[0.9, 0.6, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.5, 0.0, 0.0]]])
    chosen = torch.tensor([[[True, True, True, False], [True] * 4, [False] * 4]])
    best_loss(logits, overlap, chosen).backward()
    assert logits.grad is not None
    pull = -logits.grad[0]
    assert pull[0, 0] > 0.5
    assert pull[0, 1] < -0.2
    assert pull[0, 2] < -0.2
    assert pull[0, 3] == 0.0
    assert not pull[1:].any()


def test_what_is_singled_out_is_told_from_false_boxes() -> None:
    """Beside a name every box keeps its score; beside a phrase that points to one thing, false boxes are rivals."""
    decoder = head()
    with torch.no_grad():
        decoder.prototypes[:, WIDTH :: WIDTH + 1] = 0.0  # locations are sure enough to be compared
    plain = target(BOX, meaning=["cat"])
    losses = {}
    for singled in (False, True):
        losses[singled] = decoder.loss([scene()], asked(1), [[replace(plain, singled=singled)]])["rivals"]
    assert losses[False] == 0.0  # an untrained comparison adds nothing
    assert losses[True] > 0.1


def test_of_a_group_that_is_to_be_ignored_nothing_is_learned() -> None:
    """Neither that the phrase is there nor that it is not; what lies outside of it still counts."""
    found = {}
    for case, ignored in {"plain": [], "ignored": [BOX]}.items():
        decoder, nested = head(), learning(1)
        located = decoder.locate([m[None] for m in scene().maps])
        logits = torch.zeros(1, 1, located.boxes.shape[1], requires_grad=True)
        judge = decoder.judge
        decoder.judge = lambda at, slots, judge=judge, logits=logits: judge(at, slots)._replace(scores=logits)
        decoder.loss([scene()], nested, [[target(ignored=ignored)]])["score"].backward()
        x, y = located.centres.unbind(-1)
        inside = (x > BOX[0]) & (x < BOX[2]) & (y > BOX[1]) & (y < BOX[3])
        assert inside.any()
        found[case] = (logits.grad[0, 0, inside].abs().sum(), logits.grad[0, 0, ~inside].abs().min())
    assert found["plain"][0] > 0
    assert found["ignored"][0] == 0
    assert found["ignored"][1] > 0
