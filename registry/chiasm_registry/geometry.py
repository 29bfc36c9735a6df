"""Boxes, masks and points in one frame: pixels of the upright original image, x right, y down, (0, 0) its corner.

Every other form (COCO's xywh, centres, units of the image) is converted here, and the format stands in the name.
A box's right and lower edges are exclusive: a box round one pixel has width 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from .errors import InputError
from .rle import Rle, check_rle, mask_to_rle, rle_to_mask, rle_to_runs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "Box",
    "Mask",
    "Point",
    "Rle",
    "check_rle",
    "clip_xyxy",
    "cxcywh_to_xyxy",
    "mask_to_rle",
    "pixels_to_unit",
    "rle_to_mask",
    "unit_to_pixels",
    "xywh_to_xyxy",
    "xyxy_to_cxcywh",
    "xyxy_to_xywh",
]

Four = tuple[float, float, float, float]
Place = TypeVar("Place", bound=tuple[float, ...])

FARTHEST = 2.0**31  # pixels; sides and areas of larger numbers would overflow

_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _near(numbers: Place) -> Place:
    if any(abs(number) > FARTHEST for number in numbers):
        raise ValueError(f"a coordinate of more than {FARTHEST:,.0f} pixels lies in no image")
    return numbers


def _ordered(xyxy: Four) -> Four:
    if xyxy[2] < xyxy[0] or xyxy[3] < xyxy[1]:
        raise ValueError("a box's second corner must be right of and below its first: (x0, y0, x1, y1)")
    return xyxy


def _clean_rle(rle: Any) -> Rle:
    try:
        return check_rle(rle)
    except InputError as fault:
        raise ValueError(str(fault)) from None


class Box(BaseModel):
    """An upright rectangle; `xyxy` holds its left, upper, right and lower edge in pixels."""

    model_config = _STRICT

    xyxy: Annotated[Four, AfterValidator(_near), AfterValidator(_ordered)]

    @property
    def width(self) -> float:
        return self.xyxy[2] - self.xyxy[0]

    @property
    def height(self) -> float:
        return self.xyxy[3] - self.xyxy[1]

    @property
    def area(self) -> float:
        return self.width * self.height


class Point(BaseModel):
    """A place in the image, `xy` in pixels."""

    model_config = _STRICT

    xy: Annotated[tuple[float, float], AfterValidator(_near)]


class Mask(BaseModel):
    """The pixels of one thing, kept as COCO's compressed run-length code."""

    model_config = _STRICT

    rle: Annotated[Rle, BeforeValidator(_clean_rle)]

    @classmethod
    def from_numpy(cls, mask: NDArray[np.bool_]) -> Mask:
        """The mask of a bool array (h, w)."""
        return cls(rle=mask_to_rle(mask))

    @property
    def size_hw(self) -> tuple[int, int]:
        height, width = self.rle["size"]
        return height, width

    @property
    def area(self) -> int:
        """The number of its pixels."""
        return int(rle_to_runs(self.rle)[1::2].sum())

    def numpy(self) -> NDArray[np.bool_]:
        """The mask as a bool array (h, w)."""
        return rle_to_mask(self.rle)

    def box(self) -> Box | None:
        """The tight box round the mask's pixels; None for an empty mask."""
        runs = rle_to_runs(self.rle)
        ends = runs.cumsum()[1::2]
        lengths = runs[1::2]
        ends, lengths = ends[lengths > 0], lengths[lengths > 0]
        if len(ends) == 0:
            return None
        height = self.size_hw[0]
        first, last = ends - lengths, ends - 1  # pixels counted down the columns
        # A run that goes on in the next column holds the bottom row of one and the top row of the other.
        wraps = bool((first // height != last // height).any())
        top = 0 if wraps else int((first % height).min())
        bottom = height if wraps else int((last % height).max()) + 1
        return Box(xyxy=(float(first[0] // height), float(top), float(last[-1] // height + 1), float(bottom)))


def xyxy_to_xywh(xyxy: Four) -> Four:
    """Two corners -> the upper left corner, width and height (COCO's form)."""
    x0, y0, x1, y1 = xyxy
    return x0, y0, x1 - x0, y1 - y0


def xywh_to_xyxy(xywh: Four) -> Four:
    """The upper left corner, width and height (COCO's form) -> two corners."""
    x0, y0, width, height = xywh
    return x0, y0, x0 + width, y0 + height


def cxcywh_to_xyxy(cxcywh: Four) -> Four:
    """The centre, width and height -> two corners."""
    cx, cy, width, height = cxcywh
    return cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2


def xyxy_to_cxcywh(xyxy: Four) -> Four:
    """Two corners -> the centre, width and height."""
    x0, y0, x1, y1 = xyxy
    return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0


def unit_to_pixels(xyxy: Four, size_hw: tuple[int, int]) -> Four:
    """Corners in 0..1 of the image -> pixels of an image of that size."""
    height, width = size_hw
    return xyxy[0] * width, xyxy[1] * height, xyxy[2] * width, xyxy[3] * height


def pixels_to_unit(xyxy: Four, size_hw: tuple[int, int]) -> Four:
    """Corners in pixels of an image of that size -> 0..1 of the image."""
    height, width = size_hw
    return xyxy[0] / width, xyxy[1] / height, xyxy[2] / width, xyxy[3] / height


def clip_xyxy(xyxy: Four, size_hw: tuple[int, int]) -> Four:
    """The corners moved to the nearest place inside an image of that size."""
    height, width = size_hw
    x0, y0, x1, y1 = xyxy
    return min(max(x0, 0.0), width), min(max(y0, 0.0), height), min(max(x1, 0.0), width), min(max(y1, 0.0), height)
