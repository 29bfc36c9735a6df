"""What a decoder gives back, checked: the right class, not too much, finite, inside the image. Refuses, never repairs.

The one exception is rounding: up to half a pixel outside the image is moved to its edge.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import operator
import pathlib
import uuid
from typing import Any

from pydantic import BaseModel

from .errors import PluginError, shown
from .geometry import Box, Mask, Point, clip_xyxy
from .outputs import Found, Output

ROUNDING_PX = 0.5
MAX_DEPTH = 32
MAX_CHARS = 2**26  # of all texts and bytes in one output
VALUES_PER_ITEM = 32  # a ready kind's item is made of up to 16 values

_NUMBERS = frozenset((type(None), bool, int, float))
_TIMES = (datetime.date, datetime.time, datetime.timedelta)
_PLAIN = (*_NUMBERS, *_TIMES, enum.Enum, decimal.Decimal, uuid.UUID, pathlib.PurePath)
_COLLECTIONS = (tuple, list, dict, set, frozenset)


def check_answers(answers: object, num_routes: int) -> list[object]:
    """A decoder's whole answer as a list of one object a route; lazy sequences and subclasses are refused unread."""
    if type(answers) not in (list, tuple):
        raise PluginError(f"decode() must return a list or tuple of outputs, not {shown(type(answers).__name__, 40)}")
    assert isinstance(answers, (list, tuple))
    if len(answers) != num_routes:
        raise PluginError(f"decode() returned {len(answers)} outputs for {num_routes} routes; return one a route")
    return list(answers)


def check_output(
    answer: object, *, schema: type[Output], phrase: str, size_hw: tuple[int, int] | None, max_items: int
) -> Output:
    """A fresh, validated copy of one answer with its phrase; without `size_hw` places are not compared to an image."""
    if type(answer) is not schema:
        raise PluginError(f"decode() must return {schema.__name__}, not {shown(type(answer).__name__, 40)}")
    assert isinstance(answer, Output)
    _measure(answer, max_items)
    output: Output = schema.model_validate({**answer.model_dump(warnings=False), "phrase": phrase})
    output = _inside(output, size_hw)
    for number, found in enumerate(output.found()):
        if number == max_items:
            raise PluginError(f"found() yields more than {max_items} objects, which is the limit")
        _check_found(found, size_hw)
    if type(output.is_empty()) is not bool:
        raise PluginError("is_empty() must return True or False")
    return output


def _measure(output: Output, max_items: int) -> None:
    """Refuse what is too long, too deep or no plain value, before anything of it is copied."""
    values, chars = 0, 0
    pending: list[tuple[Any, int]] = [(output, 0)]
    while pending:
        value, depth = pending.pop()
        if isinstance(value, (str, bytes)):
            chars += len(value)
        elif (model := BaseModel in type(value).__mro__) or type(value) in _COLLECTIONS:
            parts = vars(value) if model else value
            if len(parts) > max_items:
                raise PluginError(f"the output holds {len(parts)} items; the limit is {max_items}")
            whole = [*parts, *parts.values()] if isinstance(parts, dict) else parts
            values += len(whole)
            pending.extend((part, depth + 1) for part in whole if type(part) not in _NUMBERS)
        elif not isinstance(value, _PLAIN):
            raise PluginError(f"the output holds a {shown(type(value).__name__, 40)}; only plain values can be kept")
        if values > VALUES_PER_ITEM * max_items or chars > MAX_CHARS or depth > MAX_DEPTH:
            raise PluginError(f"the output is too large: {values} values, {chars} characters, depth {depth}")


def _inside(value: Any, size_hw: tuple[int, int] | None) -> Any:
    """`value` with every number checked to be finite and every place to be inside the image."""
    kind = type(value)
    if kind is Box:
        return _inside_box(value, size_hw)
    if kind is Point:
        _check_near((*value.xy, *value.xy), size_hw, "point")
        return value if size_hw is None else Point(xy=clip_xyxy((*value.xy, *value.xy), size_hw)[:2])
    if kind is Mask:
        return _of_size(value, size_hw)
    if isinstance(value, BaseModel):
        parts = [(name, part, _inside(part, size_hw)) for name, part in vars(value).items()]
        update = {name: new for name, old, new in parts if new is not old}
        return value.model_copy(update=update) if update else value
    if kind is tuple or kind is list:
        items = [_inside(item, size_hw) for item in value]
        return value if all(map(operator.is_, items, value)) else kind(items)
    if kind is dict:
        return {key: _inside(item, size_hw) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise PluginError("the output holds a number that is not finite")
    return value


def _inside_box(box: Box, size_hw: tuple[int, int] | None) -> Box:
    x0, y0, x1, y1 = box.xyxy
    if size_hw is None or (x0 >= 0 and y0 >= 0 and x1 <= size_hw[1] and y1 <= size_hw[0]):
        return box
    _check_near(box.xyxy, size_hw, "box")
    return Box(xyxy=clip_xyxy(box.xyxy, size_hw))


def _of_size(mask: Mask, size_hw: tuple[int, int] | None) -> Mask:
    if size_hw is not None and mask.size_hw != tuple(size_hw):
        raise PluginError(f"a mask has size {mask.size_hw}, the image {tuple(size_hw)} (height, width)")
    return mask


def _check_near(xyxy: tuple[float, float, float, float], size_hw: tuple[int, int] | None, kind: str) -> None:
    if size_hw is None:
        return
    height, width = size_hw
    x0, y0, x1, y1 = xyxy
    if min(x0, y0) < -ROUNDING_PX or x1 > width + ROUNDING_PX or y1 > height + ROUNDING_PX:
        place = ", ".join(f"{number:.6g}" for number in xyxy)
        raise PluginError(f"a {kind} at ({place}) is outside the image of {width} x {height} pixels")


def _check_found(found: object, size_hw: tuple[int, int] | None) -> None:
    if type(found) is not Found:
        raise PluginError(f"found() must yield Found, not {shown(type(found).__name__, 40)}")
    score, box, mask, of = found
    if score is not None and not (isinstance(score, float) and 0.0 <= score <= 1.0):
        raise PluginError("found() yields a score that is not a float from 0 to 1")
    if not (box is None or type(box) is Box) or not (mask is None or type(mask) is Mask):
        raise PluginError("found() yields a box or a mask of a foreign class")
    if of is not None and not (type(of) is int and of >= 0):
        raise PluginError("found() yields an `of` that is no index")
    if box is not None:
        _inside_box(box, size_hw)
    if mask is not None:
        _of_size(mask, size_hw)
