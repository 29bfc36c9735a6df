"""Masks of COCO rows: polygons range-checked, run-length codes decoded and written anew; the rest is refused."""

from __future__ import annotations

from typing import Any

from chiasm_registry.errors import shown
from chiasm_registry.rle import Rle, check_rle, rle_to_runs

from .rows import FAR, RowError, kind_of, number

Polygons = list[list[float]]
MAX_CORNERS = 100_000  # of one object


def truth_mask(value: Any, size_hw: tuple[int, int]) -> Polygons | Rle | None:
    """An annotation's mask: polygons or run-length code; null and `[]`, as sets without masks write them, are none."""
    if value is None:
        return None
    if isinstance(value, dict):
        return own_rle(value, size_hw)
    if not isinstance(value, list):
        raise RowError(f"segmentation must be a list of polygons or a run-length code, not {kind_of(value)}")
    if sum(len(part) for part in value if isinstance(part, list)) > 2 * MAX_CORNERS:
        raise RowError(f"segmentation has more than {MAX_CORNERS:,} corners")
    return [_polygon(part, size_hw) for part in value] or None


def result_mask(value: Any, size_hw: tuple[int, int]) -> Rle:
    """A result's mask: COCO wants a compressed run-length code there."""
    if not isinstance(value, dict) or not isinstance(value.get("counts"), str):
        raise RowError("segmentation of a result must be {size, counts} with compressed counts (text)")
    return own_rle(value, size_hw)


def own_rle(value: dict[str, Any], size_hw: tuple[int, int]) -> Rle:
    """The same mask in our own coding: whatever a foreign coder wrote, its characters end here."""
    checked = check_rle(value, size_hw)
    return check_rle({"size": checked["size"], "counts": rle_to_runs(checked).tolist()}, size_hw)


def _polygon(corners: Any, size_hw: tuple[int, int]) -> list[float]:
    if not isinstance(corners, list) or len(corners) < 6 or len(corners) % 2:
        raise RowError(f"a polygon must be x, y, x, y, ... of at least 3 corners, not {shown(repr(corners), 40)}")
    if not {*map(type, corners)} <= {int, float}:  # sets have millions of corners: looked at one by one only on a fault
        for value in corners:
            number(value, "a polygon's coordinate")
    far = FAR * max(size_hw)
    for value in (min(corners), max(corners)):
        if not -far <= value <= far:
            raise RowError(f"a polygon's coordinate {shown(repr(value), 30)} lies far outside its image")
    return corners
