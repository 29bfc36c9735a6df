"""Two outputs held against each other: numbers nearly, pictures and masks by their pixels, all else to the letter.

Rounding turns the order of things that are as good as each other: items of nearly equal score may change places.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from ..geometry import Box, Mask, Point
from ..outputs import Output, Picture

NEAR = 1e-3  # relative, and absolute in the value's own unit
MASK_SHARE = 0.02  # of the pixels that may differ
GREY_LEVELS = 2.0  # of a picture, on average


def difference(one: Output, other: Output, *, near: float = NEAR) -> str | None:
    """Where the two differ first, or None."""
    return _differ(one, other, near, type(one).__name__)


def places(value: Any) -> Iterator[Box | Point | Mask]:
    """Every place in an output, in its order; of a thing with a mask the mask alone, as one pixel moves its box."""
    if isinstance(value, (Box, Point, Mask)):
        yield value
    elif isinstance(value, BaseModel):
        parts = list(vars(value).values())
        masks = [part for part in parts if isinstance(part, Mask)]
        yield from places(masks or parts)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from places(part)
    elif isinstance(value, dict):
        yield from places(list(value.values()))


def numbers_of(place: Box | Point) -> tuple[float, ...]:
    """Its coordinates, x before y."""
    return place.xyxy if isinstance(place, Box) else place.xy


def _differ(one: Any, other: Any, near: float, where: str) -> str | None:
    if type(one) is not type(other):
        return f"{where} is a {type(one).__name__} and a {type(other).__name__}"
    if isinstance(one, Mask):
        return None if _same_pixels(one, other, near) else f"{where} has other pixels"
    if isinstance(one, Picture):
        return None if _same_picture(one, other, near) else f"{where} is another picture"
    if isinstance(one, BaseModel):
        return _first(((k, v, vars(other)[k]) for k, v in vars(one).items()), near, where)
    if isinstance(one, (tuple, list)):
        if len(one) != len(other):
            return f"{where} has {len(one)} and {len(other)} items"
        fault = _first(((str(k), a, b) for k, (a, b) in enumerate(zip(one, other, strict=True))), near, where)
        return None if fault and near > 0 and _rearranged(one, other, near) else fault
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return f"{where} has other keys"
        return _first(((str(k), v, other[k]) for k, v in one.items()), near, where)
    if isinstance(one, float) and near > 0:
        return None if _close(one, other, near) else f"{where} is {one:g} and {other:g}"
    return None if one == other else f"{where} is another value"


def _first(pairs: Iterator[tuple[str, Any, Any]], near: float, where: str) -> str | None:
    return next((fault for key, a, b in pairs if (fault := _differ(a, b, near, f"{where}.{key}"))), None)


def _close(one: float, other: float, near: float) -> bool:
    return math.isclose(one, other, rel_tol=near, abs_tol=near)


def _rearranged(one: Sequence[Any], other: Sequence[Any], near: float) -> bool:
    """Whether `other` has the items of `one`, each in its own place or in that of one of nearly equal score."""
    scores = [score for item in one if isinstance(score := getattr(item, "score", None), float)]
    if len(scores) < len(one):
        return False
    moved = [k for k, item in enumerate(one) if _differ(item, other[k], near, "") is not None]
    free = list(moved)
    for k in moved:
        fits = (j for j in free if _close(scores[j], scores[k], near) and not _differ(one[k], other[j], near, ""))
        place = next(fits, None)
        if place is None:
            return False
        free.remove(place)
    return True


def _same_pixels(one: Mask, other: Mask, near: float) -> bool:
    if near == 0 or one.size_hw != other.size_hw:
        return one == other
    return float((one.numpy() ^ other.numpy()).mean()) <= MASK_SHARE


def _same_picture(one: Picture, other: Picture, near: float) -> bool:
    import numpy as np

    if near == 0 or one.size_hw != other.size_hw:
        return one.png == other.png
    levels = [np.asarray(picture.image.convert("RGB"), dtype=np.float32) for picture in (one, other)]
    return float(np.abs(levels[0] - levels[1]).mean()) <= GREY_LEVELS
