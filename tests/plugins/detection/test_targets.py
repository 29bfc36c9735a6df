"""What a phrase should have found, and which locations learn which box."""

from __future__ import annotations

from dataclasses import replace

import torch
from chiasm_plugins.detection.boxes import pairwise_iou
from chiasm_plugins.detection.targets import Truth, assign, box_targets
from chiasm_registry import Sample, SampleObject
from torch import Tensor

torch.set_num_threads(1)

SAMPLE = Sample(
    image_id="1",
    size_hw=(100, 200),
    objects=(
        SampleObject("cat", (10.0, 20.0, 60.0, 80.0)),
        SampleObject("cat", (100.0, 0.0, 200.0, 100.0), crowd=True),
        SampleObject("dog", (0.0, 0.0, 5.0, 5.0)),
    ),
    phrases=("cats", "animals", "unicorn"),
    matches=((0, 1), (0, 1, 2), ()),
    meanings=(("cat",), ("cat", "dog"), ()),
)


def test_one_target_a_phrase() -> None:
    """Its boxes, its groups apart, the names it stands for; nothing for a word that nothing matches."""
    cats, animals, unicorn = box_targets(SAMPLE)
    assert cats.boxes.tolist() == [[10, 20, 60, 80]]
    assert cats.ignored.tolist() == [[100, 0, 200, 100]]
    assert animals.boxes.tolist() == [[10, 20, 60, 80], [0, 0, 5, 5]]
    assert animals.meaning == ("cat", "dog")
    assert unicorn.boxes.shape == unicorn.ignored.shape == (0, 4)


def test_what_has_the_name_and_is_not_meant_is_a_rival() -> None:
    """«The left cat» beside another; a word for all of its name, or for nothing known, has no rivals."""
    objects = tuple(SampleObject("cat", (float(x), 0.0, x + 9.0, 9.0)) for x in (0, 50))
    both = replace(SAMPLE, objects=objects, phrases=("the left cat", "cats", "unicorn", "the dog"))
    both = replace(both, matches=((0,), (0, 1), (), ()), meanings=(("cat",), ("cat",), (), ("dog",)))
    assert [target.rivals.tolist() for target in box_targets(both)] == [[[50, 0, 59, 9]], [], [], []]
    assert not any(target.singled for target in box_targets(both))
    told = replace(both, singled=(True, False, False, False))
    assert [target.singled for target in box_targets(told)] == [True, False, False, False]


def truth_of(boxes: Tensor, phrase: Tensor, valid: Tensor) -> Truth:
    return Truth(boxes, phrase, valid, valid)


def grid(side: int = 8, stride: float = 8.0) -> Tensor:
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return torch.stack([x, y], -1).reshape(-1, 2) * stride


def predicted(centres: Tensor, size: float) -> Tensor:
    return torch.cat([centres - size / 2, centres + size / 2], -1)[None]


def test_a_box_takes_the_best_locations_inside_it() -> None:
    """At most `top`, all inside; the best of them learns its overlap, the others less; no other phrase learns."""
    centres = grid()
    boxes = predicted(centres, 20.0)
    truth = truth_of(torch.tensor([[[10.0, 10.0, 34.0, 34.0]]]), torch.tensor([[1]]), torch.tensor([[True]]))
    found = assign(torch.full((1, 3, 64), 0.5), boxes, centres, truth, top=4)
    taken = found.quality[0, 1] > 0
    assert 1 <= int(taken.sum()) <= 4
    assert not found.quality[0, [0, 2]].any()
    assert ((centres[taken] > 10) & (centres[taken] < 34)).all()
    overlap = pairwise_iou(truth.boxes, boxes)[0, 0]
    best = int(found.quality[0, 1].argmax())
    torch.testing.assert_close(found.quality[0, 1, best], overlap[taken].max())
    assert (found.quality[0, 1] <= overlap[taken].max() + 1e-6).all()
    assert torch.equal(found.box[0, best], truth.boxes[0, 0])
    torch.testing.assert_close(found.weight, found.quality.amax(1))


def test_a_location_claimed_twice_goes_to_the_box_it_overlaps_most() -> None:
    """Within one phrase; two phrases may learn from the same place."""
    centres = grid()
    boxes = predicted(centres, 16.0)
    near = [[12.0, 12.0, 28.0, 28.0], [8.0, 8.0, 40.0, 40.0]]
    one = truth_of(torch.tensor([near]), torch.tensor([[0, 0]]), torch.ones(1, 2, dtype=torch.bool))
    found = assign(torch.full((1, 2, 64), 0.5), boxes, centres, one, top=13)
    overlap = pairwise_iou(one.boxes, boxes)[0]
    taken = found.quality[0, 0] > 0
    owner = (found.box[0][:, None] == one.boxes[0][None]).all(-1).float().argmax(1)
    both = taken & (overlap[0] > 0) & (overlap[1] > 0)
    inside = ((centres[:, None] > one.boxes[0, :, :2]) & (centres[:, None] < one.boxes[0, :, 2:])).all(-1)
    both &= inside.all(1)
    assert both.any()
    assert torch.equal(owner[both], overlap.argmax(0)[both])
    two = truth_of(one.boxes, torch.tensor([[0, 1]]), one.valid)
    shared = assign(torch.full((1, 2, 64), 0.5), boxes, centres, two, top=13)
    assert ((shared.quality[0, 0] > 0) & (shared.quality[0, 1] > 0)).any()


def test_padding_and_empty_truth_teach_nothing() -> None:
    centres = grid()
    padding = truth_of(torch.tensor([[[0.0, 0.0, 60.0, 60.0]]]), torch.tensor([[0]]), torch.tensor([[False]]))
    found = assign(torch.full((1, 1, 64), 0.5), predicted(centres, 16.0), centres, padding)
    assert not found.quality.any()
    assert not found.weight.any()
    assert torch.isfinite(found.box).all()


def test_the_assignment_of_an_image_does_not_depend_on_its_neighbours() -> None:
    centres = grid()
    boxes = predicted(centres, 20.0).repeat(2, 1, 1)
    truths = torch.tensor(
        [[[10.0, 10.0, 34.0, 34.0], [0.0, 0.0, 9.0, 9.0]], [[30.0, 30.0, 50.0, 50.0], [0.0, 0.0, 0.0, 0.0]]]
    )
    both = truth_of(truths, torch.tensor([[0, 1], [1, 0]]), torch.tensor([[True, True], [True, False]]))
    scores = torch.rand(2, 2, 64, generator=torch.Generator().manual_seed(0))
    together = assign(scores, boxes, centres, both)
    alone = assign(
        scores[1:], boxes[1:], centres, truth_of(truths[1:, :1], torch.tensor([[1]]), torch.tensor([[True]]))
    )
    torch.testing.assert_close(together.quality[1:], alone.quality)
    torch.testing.assert_close(together.weight[1:], alone.weight)
