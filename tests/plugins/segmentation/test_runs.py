"""Promises of `runs` and `cleaning`: masks of any size from small grids, exact run-length codes, a stated rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from chiasm_plugins.segmentation.cleaning import clean, pieces
from chiasm_plugins.segmentation.runs import as_mask, enlarged, united
from chiasm_registry import Mask


def blobs(seed: int, size: int = 28) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, 1, size // 4, size // 4, generator=generator)
    return F.interpolate(noise, (size, size), mode="bicubic")[0, 0]


@pytest.mark.parametrize("seed", range(5))
def test_a_grid_over_the_whole_image_is_what_bilinear_enlarging_gives(seed: int) -> None:
    logits, size_hw = blobs(seed), (120, 77)
    mask = as_mask(enlarged(logits, (0.0, 0.0, 77.0, 120.0), size_hw), size_hw).numpy()
    wanted = F.interpolate(logits[None, None], size_hw, mode="bilinear", align_corners=False)[0, 0].numpy() > 0
    assert (mask != wanted).mean() < 1e-3


@pytest.mark.parametrize("region", [(10.4, 20.0, 50.25, 90.0), (-20.0, -5.0, 30.0, 140.0), (60.0, 100.0, 99.0, 150.0)])
def test_a_region_is_put_in_its_place_and_cut_at_the_image(region: tuple[float, ...]) -> None:
    size_hw, logits = (120, 77), torch.ones(28, 28)
    mask = as_mask(enlarged(logits, region, size_hw), size_hw).numpy()
    rows, columns = np.mgrid[:120, :77] + 0.5
    inside = (columns > region[0]) & (columns < region[2]) & (rows > region[1]) & (rows < region[3])
    assert np.array_equal(mask, inside)


@pytest.mark.parametrize("value", [-1.0, 1.0])
def test_nothing_and_everything_have_sound_codes(value: float) -> None:
    mask = as_mask(enlarged(torch.full((28, 28), value), (0.0, 0.0, 8.0, 6.0), (6, 8)), (6, 8))
    assert mask.numpy().all() == (value > 0)
    assert Mask.from_numpy(mask.numpy()) == mask


def test_codes_are_those_of_the_registry() -> None:
    for seed in range(20):
        size_hw = (40 + seed, 61)
        mask = as_mask(enlarged(blobs(seed), (-3.0, 2.0, 55.0, 70.0), size_hw), size_hw)
        assert mask == Mask.from_numpy(mask.numpy())


def test_a_union_is_that_of_the_pixels() -> None:
    for seed in range(10):
        parts = [enlarged(blobs(seed + k), (5.0 * k, 0.0, 40.0 + 5 * k, 50.0), (50, 60)) for k in range(3)]
        alone = np.logical_or.reduce([as_mask(part, (50, 60)).numpy() for part in parts])
        assert np.array_equal(as_mask(united(parts), (50, 60)).numpy(), alone)


def test_pieces_are_what_touches_side_by_side() -> None:
    drawn = np.array([[1, 0, 1, 1], [0, 0, 0, 1], [1, 1, 0, 1], [0, 1, 0, 0]], dtype=bool)
    labels, sizes = pieces(drawn)
    assert sorted(sizes) == [1, 3, 4]
    assert labels[0, 2] == labels[2, 3] != labels[2, 0] == labels[3, 1] != labels[0, 0]


def test_a_snake_is_one_piece() -> None:
    drawn = np.zeros((41, 41), dtype=bool)
    drawn[::2] = True
    drawn[1::4, -1] = True
    drawn[3::4, 0] = True
    assert len(pieces(drawn)[1]) == 1


def test_islands_go_and_holes_are_filled_but_what_is_large_stays() -> None:
    logits = np.full((112, 112), -2.0, dtype=np.float32)
    logits[20:80, 20:80] = 3.0
    logits[30:32, 30:32] = -1.0  # a hole of 4 cells
    logits[50:62, 50:62] = -1.0  # an opening of 144
    logits[100:102, 100:102] = 1.0  # an island of 4
    logits[90:102, 2:14] = 1.0  # another piece of 144
    cleaned = clean(logits)
    assert (cleaned[30:32, 30:32] > 0).all()
    assert (cleaned[50:62, 50:62] < 0).all()
    assert (cleaned[100:102, 100:102] < 0).all()
    assert (cleaned[90:102, 2:14] > 0).all()
    assert logits[30, 30] == -1.0
