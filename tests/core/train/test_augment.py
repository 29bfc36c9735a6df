"""Promises of `chiasm.train.augment`: boxes go where the pixels go, and nothing else changes."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
import torch
from chiasm.train.augment import (
    FILL,
    IDENTITY,
    Affine,
    colour_map,
    flipped,
    into_window,
    pyramid_level,
    recolour,
    sample_affine,
    seen_share,
    transform_boxes,
    warp,
)
from chiasm_registry import SampleObject
from PIL import Image

torch.set_num_threads(1)


def matrices(*affines: Affine) -> torch.Tensor:
    return torch.tensor(affines).view(-1, 2, 3)


def smooth_photograph(size: int) -> torch.Tensor:
    """A (3, size, size) uint8 photograph with details of a few pixels."""
    noise = np.random.default_rng(1).integers(0, 256, (size // 4, size // 4, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)


def test_the_identity_gives_the_pixels_of_a_plain_resize() -> None:
    photo = smooth_photograph(480)
    view = warp(photo[None], torch.tensor([0]), matrices(IDENTITY), 448)[0]
    plain = Image.fromarray(photo.permute(1, 2, 0).numpy()).resize((448, 448), Image.Resampling.BICUBIC)
    wanted = torch.from_numpy(np.array(plain)).permute(2, 0, 1) / 255
    assert (view - wanted).abs().mean() < 0.01


def test_a_flip_mirrors_the_view_and_what_is_not_covered_has_the_mean_colour() -> None:
    photo = smooth_photograph(64)[None]
    index = torch.tensor([0, 0, 0])
    half: Affine = (0.5, 0.0, 0.25, 0.0, 0.5, 0.25)
    plain, mirrored, small = warp(photo, index, matrices(IDENTITY, flipped(IDENTITY), half), 64)
    assert torch.allclose(plain.flip(2), mirrored, atol=1e-4)
    assert torch.allclose(small[:, 0, 0], torch.tensor(FILL))
    assert small[:, :16].std(dim=(1, 2)).max() < 1e-6


@pytest.mark.parametrize("seed", range(8))
def test_a_box_lands_on_its_pixels(seed: int) -> None:
    photo = torch.zeros((1, 3, 120, 120), dtype=torch.uint8)
    photo[:, 0, 30:60, 40:80] = 255  # in a photograph of 240 x 120 pixels the box 80..160, 30..60
    affine = sample_affine(Random(seed), scale=(0.5, 1.6), aspect=1.25, flip=0.5)
    found = transform_boxes([SampleObject("x", (80, 30, 160, 60))], affine, (120, 240), 112)
    view = warp(photo, torch.tensor([0]), matrices(affine), 112)[0]
    bright = (view[0] > 0.6).nonzero()
    if not found:
        assert len(bright) < 0.05 * 112 * 112
        return
    top, left = bright.min(0).values.tolist()
    bottom, right = (bright.max(0).values + 1).tolist()
    assert found[0].box_xyxy == pytest.approx((left, top, right, bottom), abs=1.5)


def test_strong_shrinking_does_not_alias() -> None:
    stripes = torch.zeros((1, 3, 256, 256), dtype=torch.uint8)
    stripes[..., ::2] = 255
    quarter: Affine = (0.25, 0.0, 0.0, 0.0, 0.25, 0.0)
    assert pyramid_level(quarter, 256, 256) == 2
    view = warp(stripes, torch.tensor([0]), matrices(quarter), 256)[0]
    assert view[:, 8:56, 8:56].std() < 0.02


def test_sorted_levels_give_the_same_views_as_finding_them() -> None:
    photos = torch.stack([smooth_photograph(64), smooth_photograph(64).flip(0)])
    small: Affine = (0.4, 0.0, 0.1, 0.0, 0.4, 0.1)
    index = torch.tensor([1, 0, 1])
    found = warp(photos, index, matrices(small, IDENTITY, IDENTITY), 64)
    given = warp(photos, index[[1, 2, 0]], matrices(IDENTITY, IDENTITY, small), 64, levels=(2, 1, 0, 0))
    assert torch.allclose(found[[1, 2, 0]], given)


def test_a_cut_object_is_ignored_and_a_vanished_one_dropped() -> None:
    right: Affine = (1.0, 0.0, 0.5, 0.0, 1.0, 0.0)  # moved by half a view
    things = [SampleObject("whole", (0, 0, 40, 10)), SampleObject("cut", (40, 0, 80, 10))]
    things += [SampleObject("gone", (60, 0, 90, 10)), SampleObject("edge", (49, 0, 99, 10))]
    found = {thing.name: thing for thing in transform_boxes(things, right, (100, 100), 100)}
    assert found["whole"] == SampleObject("whole", (50, 0, 90, 10))
    assert "gone" not in found
    assert "edge" not in found
    cut = transform_boxes([SampleObject("cut", (40, 0, 90, 10))], right, (100, 100), 100)
    assert [(thing.crowd, thing.box_xyxy) for thing in cut] == [(True, (90, 0, 100, 10))]


def test_a_window_holds_the_photograph_and_cuts_its_boxes() -> None:
    window = (0.5, 0.0, 1.0, 0.5)
    twice: Affine = (2.0, 0.0, 0.0, 0.0, 2.0, 0.0)
    affine = into_window(twice, window)
    assert seen_share(twice) == pytest.approx(0.25)
    found = transform_boxes([SampleObject("x", (0, 0, 60, 60))], affine, (100, 100), 100, window)
    assert found[0].box_xyxy == pytest.approx((50, 0, 100, 50))


def test_colours_keep_still_at_ones_and_grey_has_no_colour() -> None:
    views = torch.rand((2, 3, 8, 8))
    same, grey = colour_map(1, 1, 1, 0), colour_map(1, 1, 0, 0.3)
    kept, drained = recolour(views, torch.tensor([same, grey]).view(2, 3, 4))
    assert torch.allclose(kept, views[0], atol=1e-6)
    assert (drained.amax(0) - drained.amin(0)).max() < 1e-5
    turned = recolour(torch.full((1, 3, 1, 1), 0.5), torch.tensor(colour_map(1, 1, 1, 0.5)).view(1, 3, 4))
    assert torch.allclose(turned, torch.tensor(0.5), atol=1e-6)
