"""Boxes, points and masks are strict, and every conversion has its way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from chiasm_registry.geometry import (
    Box,
    Mask,
    Point,
    clip_xyxy,
    cxcywh_to_xyxy,
    pixels_to_unit,
    unit_to_pixels,
    xywh_to_xyxy,
    xyxy_to_cxcywh,
    xyxy_to_xywh,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

NUMBERS = st.floats(0, 1000, allow_nan=False)
CORNERS = st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
NAN = float("nan")


@given(CORNERS)
def test_conversions_have_their_way_back(xyxy: tuple[float, float, float, float]) -> None:
    assert pytest.approx(xyxy, abs=1e-9) == xywh_to_xyxy(xyxy_to_xywh(xyxy))
    assert pytest.approx(xyxy, abs=1e-9) == cxcywh_to_xyxy(xyxy_to_cxcywh(xyxy))
    assert pytest.approx(xyxy, abs=1e-9) == unit_to_pixels(pixels_to_unit(xyxy, (37, 91)), (37, 91))


def test_conversions_by_hand() -> None:
    assert xyxy_to_xywh((10.0, 20.0, 40.0, 40.0)) == (10.0, 20.0, 30.0, 20.0)
    assert xyxy_to_cxcywh((10.0, 20.0, 40.0, 40.0)) == (25.0, 30.0, 30.0, 20.0)
    assert unit_to_pixels((0.2, 0.2, 1.0, 1.0), (50, 100)) == (20.0, 10.0, 100.0, 50.0)
    assert clip_xyxy((-3.0, -1.0, 120.0, 51.0), (50, 100)) == (0.0, 0.0, 100.0, 50.0)


@pytest.mark.parametrize(
    "xyxy",
    [
        (1.0, 1.0, 0.0, 2.0),
        (0.0, 2.0, 1.0, 1.0),
        (0.0, 0.0, NAN, 1.0),
        (0.0, 0.0, float("inf"), 1.0),
        (0.0, 0.0, 1.0),
        (0.0, 0.0, "1", 1.0),
        (0.0, 0.0, True, 1.0),
        (0, 0, 10**400, 1),
        (-1e308, -1e308, 1e308, 1e308),
        "0011",
        None,
    ],
)
def test_a_box_that_is_none_is_refused(xyxy: Any) -> None:
    with pytest.raises(ValidationError):
        Box(xyxy=xyxy)


def test_a_box_knows_its_sides_and_survives_json() -> None:
    box = Box(xyxy=(1.0, 2.0, 4.0, 8.0))
    assert (box.width, box.height, box.area) == (3.0, 6.0, 18.0)
    assert box.model_dump_json() == '{"xyxy":[1.0,2.0,4.0,8.0]}'
    assert Box.model_validate_json(box.model_dump_json()) == box


def test_values_are_frozen_and_take_nothing_more() -> None:
    with pytest.raises(ValidationError):
        Point(xy=(1.0, 2.0)).xy = (0.0, 0.0)
    with pytest.raises(ValidationError):
        Point(xy=(1.0, 2.0), z=3)  # type: ignore[call-arg]


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_a_mask_gives_its_pixels_area_and_tight_box_back(pixels: np.ndarray) -> None:
    mask = Mask.from_numpy(pixels)
    assert np.array_equal(pixels, mask.numpy())
    assert mask.numpy().dtype == np.bool_
    assert (pixels.shape, int(pixels.sum())) == (mask.size_hw, mask.area)
    rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
    box = mask.box()
    if len(rows) == 0:
        assert box is None
    else:
        assert box is not None
        assert (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) == box.xyxy


def test_a_point_lies_where_an_image_may() -> None:
    with pytest.raises(ValidationError, match="lies in no image"):
        Point(xy=(0.0, -1e308))


def test_a_mask_survives_json_and_refuses_a_broken_code() -> None:
    mask = Mask.from_numpy(np.eye(5, dtype=bool))
    assert Mask.model_validate_json(mask.model_dump_json()) == mask
    assert Mask.model_validate(mask.model_dump()) == mask
    with pytest.raises(ValidationError, match="sum to"):
        Mask(rle={"size": [5, 6], "counts": mask.rle["counts"]})


def test_a_mask_keeps_no_hold_on_the_callers_dictionary() -> None:
    given_rle = {"size": [1, 2], "counts": "11"}
    mask = Mask(rle=given_rle)  # type: ignore[arg-type]
    given_rle["counts"] = "broken"
    assert mask.area == 1
