"""What is worth drawing of a training view, and how it is cut: square in the photograph, whatever the view."""

from __future__ import annotations

import torch
from chiasm_plugins.generation.bank import KEPT, MARGIN, Bank, cut, painted_over, unsaid
from chiasm_plugins.generation.kinds import KIND_OF, UNSAID
from chiasm_plugins.generation.targets import picture_targets
from chiasm_registry import Sample
from chiasm_registry.contract import SampleObject


def sample(*objects: SampleObject, stretch: float = 1.0) -> Sample:
    return Sample("1", (448, 448), objects, ("dog", "unicorn"), ((0,), ()), (("dog",), ()), stretch)


def test_every_phrase_knows_what_it_means_and_all_that_can_be_drawn() -> None:
    dog = SampleObject("dog", (50.0, 50.0, 150.0, 150.0))
    known, unknown = picture_targets(sample(dog, stretch=1.5))
    assert (known.meaning, unknown.meaning) == (("dog",), ())
    assert known.whole == unknown.whole == (dog,)
    assert known.stretch == 1.5


def test_groups_and_what_is_cut_or_covered_are_left_out() -> None:
    """A large thing may be cut by the edge, as long as much of it is there; a rider does not hide a horse behind it."""
    dog = SampleObject("dog", (50.0, 50.0, 150.0, 150.0))
    crowd = SampleObject("dog", (200.0, 50.0, 400.0, 150.0), crowd=True)
    small_cut = SampleObject("cat", (0.0, 200.0, 90.0, 300.0))
    large_cut = SampleObject("bus", (0.0, 160.0, 440.0, 448.0))
    (target, _) = picture_targets(sample(dog, crowd, small_cut, large_cut))
    assert target.whole == (dog, large_cut)
    over = SampleObject("person", (60.0, 50.0, 140.0, 140.0))
    (target, _) = picture_targets(sample(dog, over))
    assert target.whole == ()


def disc(centre: tuple[float, float], radius: float, stretch: float) -> torch.Tensor:
    """A view with a white disc that is round in its photograph."""
    y, x = torch.meshgrid(torch.arange(448.0), torch.arange(448.0), indexing="ij")
    inside = ((x - centre[0]) * stretch) ** 2 + (y - centre[1]) ** 2 <= radius**2
    return inside.float().expand(3, -1, -1)


def test_a_crop_is_in_shape_and_has_the_thing_in_its_middle() -> None:
    """A disc of a wide and of a high photograph is a disc again, of the size that the margin leaves it."""
    for stretch in (1.0, 1.6, 0.6):
        view = disc((200.0, 220.0), 60.0, stretch)
        box = torch.tensor([[200 - 60 / stretch, 160.0, 200 + 60 / stretch, 280.0]])
        crops, extent = cut(view[None], torch.tensor([0]), box, torch.tensor([stretch]))
        assert crops.shape == (1, 3, KEPT, KEPT)
        rows, columns = (crops[0, 0] > 0.5).nonzero().T
        high, wide = rows.max() - rows.min() + 1, columns.max() - columns.min() + 1
        assert abs(int(high) - KEPT / MARGIN) <= 2
        assert abs(int(high) - int(wide)) <= 2
        assert abs(float(rows.float().mean()) - (KEPT - 1) / 2) < 1
        torch.testing.assert_close(extent, torch.full((1, 2), 0.5 / MARGIN), atol=1e-3, rtol=0)


def test_a_crop_stays_in_the_view() -> None:
    """A thing at the edge or as large as the view: the crop is moved or shrunk and shows no border."""
    view = torch.ones(1, 3, 448, 448)
    boxes = torch.tensor([[0.0, 0.0, 100.0, 100.0], [10.0, 0.0, 440.0, 448.0]])
    crops, _ = cut(view, torch.tensor([0, 0]), boxes, torch.tensor([1.0, 1.3]))
    torch.testing.assert_close(crops, torch.ones_like(crops))


def test_the_bank_forgets_the_oldest_and_balances_kinds() -> None:
    """Nine persons and a dog in it: by the square root a person is drawn three times as often."""
    torch.manual_seed(0)
    bank = Bank(10, torch.device("cpu"))
    for kind, count in (("cat", 5), ("person", 9), ("dog", 1)):
        kinds = torch.full((count,), KIND_OF[kind])
        shade = torch.full((count, 3, KEPT, KEPT), 0.25)
        bank.add(shade, torch.full((count, 2), 0.4), kinds, torch.ones(count), repaint=0.0)
    assert bank.filled == 10
    pictures, kinds, colours = bank.draw(600)
    assert pictures.shape == (600, 3, 128, 128)
    assert -1 <= pictures.min() <= pictures.max() <= 1
    persons = (kinds == KIND_OF["person"]).float().mean().item()
    assert 0.69 < persons < 0.81
    assert set(kinds.tolist()) == {KIND_OF["person"], KIND_OF["dog"]}
    assert len(set(colours.tolist())) == 1


def test_clear_things_are_drawn_more_often() -> None:
    bank = Bank(2, torch.device("cpu"))
    crops = torch.stack([torch.zeros(3, KEPT, KEPT), torch.ones(3, KEPT, KEPT)])
    bank.add(crops, torch.full((2, 2), 0.4), torch.zeros(2).long(), torch.tensor([1.0, 3.0]), repaint=0.0)
    torch.manual_seed(0)
    pictures, _, _ = bank.draw(400)
    assert 0.68 < (pictures.mean((1, 2, 3)) > 0).float().mean().item() < 0.82


def test_paint_changes_the_hue_of_the_middle_alone() -> None:
    torch.manual_seed(0)
    red = torch.tensor([0.8, 0.1, 0.1]).view(1, 3, 1, 1).expand(2, 3, 32, 32).contiguous()
    painted = painted_over(red, torch.full((2, 2), 0.4), torch.tensor([True, False]))
    assert (painted[0, :, 16, 16] - red[0, :, 16, 16]).abs().max() > 0.1
    torch.testing.assert_close(painted[0, :, 0, 0], red[0, :, 0, 0])
    torch.testing.assert_close(painted[1], red[1])


def test_a_share_of_colours_is_left_unsaid() -> None:
    torch.manual_seed(0)
    told = unsaid(torch.zeros(1000).long(), 0.3)
    assert 0.24 < (told == UNSAID).float().mean().item() < 0.36
