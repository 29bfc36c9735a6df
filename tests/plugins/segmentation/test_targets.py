"""Promises of `targets` and `prompting`: exact bits, points where they belong, prompts that say what is wanted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from chiasm_plugins.segmentation.prompting import draw_prompts
from chiasm_plugins.segmentation.sam import IN, LOWER_RIGHT, OUT, UPPER_LEFT
from chiasm_plugins.segmentation.targets import mask_targets
from plugins.segmentation.masking import VIEW, disc, sample

ONE, TWO = disc(20, 20, 10), disc(45, 40, 14)


def test_masks_travel_as_bits_and_come_back_whole() -> None:
    (target,) = mask_targets(sample([ONE, TWO], ((0, 1),)))
    assert np.array_equal(np.unpackbits(target.masks.numpy(), axis=2).astype(bool), np.stack([ONE, TWO]))
    assert target.whole is not None
    assert np.array_equal(np.unpackbits(target.whole.numpy(), axis=1).astype(bool), ONE | TWO)


def test_an_object_without_a_mask_keeps_its_box_and_leaves_the_whole_unknown() -> None:
    (target,) = mask_targets(sample([None, TWO], ((0, 1),)))
    assert len(target.masks) == 1
    assert len(target.boxes) == 2
    assert target.whole is None
    assert target.boxes[1].tolist() == [8.0, 8.0, 40.0, 40.0]


def test_points_lie_in_the_mask_and_beside_it_and_are_the_same_again() -> None:
    first, again = (mask_targets(sample([ONE], ((0,),)))[0] for _ in range(2))
    assert torch.equal(first.clicks, again.clicks)
    for inside, points in ((True, first.clicks[0]), (False, first.beside[0])):
        assert all(ONE[int(y), int(x)] == inside for x, y in points.tolist())
    middle = first.clicks[0, 0]
    assert (middle - torch.tensor([20.0, 20.0])).norm() < 6


def test_a_box_that_holds_much_that_is_hidden_becomes_the_box_of_what_is_seen() -> None:
    hidden = ONE.copy()
    hidden[:, :20] = False
    (target,) = mask_targets(sample([hidden], ((0,),), boxes=[(10.0, 10.0, 30.0, 30.0)]))
    assert target.boxes[0].tolist() == [20.0, 10.0, 30.0, 30.0]
    (kept,) = mask_targets(sample([ONE], ((0,),), boxes=[(9.0, 9.0, 31.0, 31.0)]))
    assert kept.boxes[0].tolist() == [9.0, 9.0, 31.0, 31.0]


def test_a_phrase_for_nothing_has_nothing() -> None:
    (target,) = mask_targets(sample([ONE], ((),)))
    assert target.boxes.shape == (0, 4)
    assert target.whole is None


def test_prompts_point_into_the_mask_that_they_are_trained_with() -> None:
    torch.manual_seed(0)
    targets = mask_targets(sample([ONE, TWO, None], ((0,), (1,), (2,), ())))
    kinds = set()
    for _ in range(40):
        drawn = draw_prompts([targets, targets[:1]], 6, 2, VIEW)
        for k in range(len(drawn.known)):
            b, p = divmod(k, drawn.regions.shape[1])
            tokens = drawn.tokens[b, p].tolist()
            kinds |= {int(kind) for _, _, kind in tokens}
            if drawn.known[k]:
                mask = np.unpackbits(drawn.masks[drawn.mask[k]].numpy(), axis=1).astype(bool)
                assert all(mask[int(y), int(x)] for x, y, kind in tokens if kind == IN)
                assert not any(mask[int(y), int(x)] for x, y, kind in tokens if kind == OUT)
    assert {IN, OUT, UPPER_LEFT, LOWER_RIGHT} <= kinds


@pytest.mark.parametrize("most", [1, 2])
def test_there_are_no_more_prompts_than_asked_for(most: int) -> None:
    targets = list(mask_targets(sample([ONE, ONE, ONE], ((0,), (1,), (2,)))))
    for _ in range(20):
        assert draw_prompts([targets], most, 2, VIEW).known.shape[-1] <= most


def test_an_image_without_anything_known_still_has_a_place_in_the_batch() -> None:
    (target,) = mask_targets(sample([ONE], ((),)))
    drawn = draw_prompts([[target]], 6, 2, VIEW)
    assert not drawn.known.any()
    assert not drawn.boxed.any()
