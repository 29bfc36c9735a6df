"""The tile rule is InternVL2's, to the last bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chiasm.images import tile_grid, tile_pixels, view_pixels
from chiasm_registry.errors import InputError
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image


def test_grids_equal_the_reference(shared: Path) -> None:
    """Columns, rows, stretched size, boxes and count of every stored size."""
    rows = json.loads((shared / "golden/tiles.json").read_text())["rows"]
    assert len(rows) == 400
    for row in rows:
        grid = tile_grid(
            row["w"], row["h"], min_tiles=row["min_num"], max_tiles=row["max_num"], thumbnail=row["use_thumbnail"]
        )
        boxes = [list(box) for box in grid.boxes]
        stored = boxes if row["boxes_complete"] else [boxes[0], boxes[1], boxes[-1]]
        found = ([grid.columns, grid.rows], list(grid.resized), grid.count, grid.has_thumbnail, stored)
        assert found == (row["grid"], row["resized"], row["count"], row["thumbnail"], row["boxes"])


@pytest.mark.parametrize("k", range(6))
def test_pixels_equal_the_reference(shared: Path, k: int) -> None:
    """Stretching, cutting and normalising give the reference's numbers exactly."""
    folder = shared / "golden"
    row: dict[str, Any] = json.loads((folder / "tiles_pixels.json").read_text())["images"][k]
    image = Image.open(folder / row["file"]).convert("RGB")
    pixels = tile_pixels(
        image, min_tiles=row["min_num"], max_tiles=row["max_num"], tile=row["tile"], thumbnail=row["use_thumbnail"]
    )
    with np.load(folder / "tiles_pixels.npz") as stored:
        assert np.array_equal(pixels.numpy(), stored[f"pixels_{k}"])


@settings(max_examples=200, deadline=None)
@given(width=st.integers(1, 60_000), height=st.integers(1, 60_000), most=st.integers(1, 24), thumbnail=st.booleans())
def test_tiles_cover_the_stretched_image(width: int, height: int, most: int, thumbnail: bool) -> None:
    """There is always a tile, never too many, and together they are the whole stretched image."""
    grid = tile_grid(width, height, max_tiles=most, tile=10, thumbnail=thumbnail)
    assert 1 <= len(grid.boxes) == grid.columns * grid.rows <= most
    assert sum((right - left) * (bottom - top) for left, top, right, bottom in grid.boxes) == np.prod(grid.resized)
    assert grid.has_thumbnail == (thumbnail and len(grid.boxes) > 1)


def test_the_view_is_the_whole_image() -> None:
    """A view is RGB in 0..1 with the first axis for the channels."""
    image = Image.new("RGB", (30, 20), (255, 0, 51))
    view = view_pixels(image, 8)
    assert view.shape == (3, 8, 8)
    assert view.dtype == torch.float32
    assert view[:, 3, 3].tolist() == pytest.approx([1.0, 0.0, 0.2])


@pytest.mark.parametrize("wrong", [{"width": 0}, {"height": -1}, {"min_tiles": 0}, {"min_tiles": 7, "max_tiles": 6}])
def test_impossible_numbers_are_refused(wrong: dict[str, int]) -> None:
    """A grid of nothing is an error of ours, not a division by zero."""
    numbers: dict[str, Any] = {"width": 10, "height": 10, **wrong}
    with pytest.raises(InputError):
        tile_grid(**numbers)
