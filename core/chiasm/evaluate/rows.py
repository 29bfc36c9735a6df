"""Checks of single fields of COCO rows: exact types, finite numbers, ranges; a `RowError` says the fact alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import Any, TypeVar

from chiasm_registry.errors import InputError, shown

MAX_ID = 2**53  # beyond it JSON readers of other languages no longer tell two ids apart
FAR = 4  # sides of the image: coordinates beyond are damage, and pycocotools dies on large ones

Four = tuple[float, float, float, float]
Item = TypeVar("Item")


class RowError(Exception):
    """What is wrong with one row."""


def read_rows(rows: Any, name: str, what: str, read: Callable[[dict[str, Any]], Item]) -> tuple[Item, ...]:
    """`read` of each row; a fault becomes an InputError that names file, list and index."""
    if not isinstance(rows, list):
        raise InputError(f"{name}: {what} must be a list, not {kind_of(rows)}")
    items = []
    for index, row in enumerate(rows):
        try:
            if not isinstance(row, dict):
                raise RowError(f"must be an object, not {kind_of(row)}")
            items.append(read(row))
        except (RowError, InputError) as fault:
            raise InputError(f"{name}: {what}[{index}]: {fault}") from None
    return tuple(items)


def kind_of(value: Any) -> str:
    """The JSON word for a value's type."""
    words = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return words.get(type(value), "null")


def field(row: dict[str, Any], key: str) -> Any:
    """A field that must be there."""
    try:
        return row[key]
    except KeyError:
        raise RowError(f"has no '{key}'") from None


def identity(row: dict[str, Any], key: str) -> int:
    """A whole number from 0 to 2^53 - 1."""
    value = field(row, key)
    if type(value) is not int or not 0 <= value < MAX_ID:
        raise RowError(f"{key} must be a whole number from 0 to 2^53 - 1, not {shown(repr(value), 40)}")
    return value


def known(row: dict[str, Any], key: str, ids: dict[int, Item], where: str) -> Item:
    """What stands under the row's id in the file's `where` list."""
    value = identity(row, key)
    try:
        return ids[value]
    except KeyError:
        raise RowError(f"{key} {value} is not in {where}") from None


def number(value: Any, what: str) -> float:
    """A finite int or float, as it is (ints stay ints: pycocotools computes with what the file says)."""
    if type(value) is not float and type(value) is not int:
        raise RowError(f"{what} must be a number, not {kind_of(value)} {shown(repr(value), 30)}")
    if not math.isfinite(value):
        raise RowError(f"{what} must be finite")
    return value


def side(row: dict[str, Any], key: str) -> int:
    """An image's width or height in pixels."""
    value = field(row, key)
    if type(value) is not int or not 1 <= value < 2**31:
        raise RowError(f"{key} must be a whole number of pixels, at least 1, not {shown(repr(value), 40)}")
    return value


def text(row: dict[str, Any], key: str) -> str:
    """Text that is not blank and holds no control characters."""
    value = field(row, key)
    if not isinstance(value, str) or not value.strip():
        raise RowError(f"{key} must be text that is not blank, not {shown(repr(value), 40)}")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in value):
        raise RowError(f"{key} holds a control character: {shown(repr(value), 60)}")
    return value


def relative_path(row: dict[str, Any], key: str) -> str:
    """A path below the folder of images: not absolute, no '..', no backslash."""
    value = text(row, key)
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or "\\" in value or len(value) > 1024 or not path.parts:
        raise RowError(f"{key} must be a path below the folder of images, not {shown(repr(value), 60)}")
    return str(path)


def box_xywh(value: Any, size_hw: tuple[int, int]) -> Four:
    """COCO's [x, y, width, height]; parts outside the image stay, places beyond four of its sides do not."""
    if not isinstance(value, list) or len(value) != 4:
        raise RowError(f"bbox must be [x, y, width, height], not {shown(repr(value), 50)}")
    x, y, width, height = (number(part, "each part of bbox") for part in value)
    if width < 0 or height < 0:
        raise RowError(f"bbox has a negative width or height: {shown(repr(value), 60)}")
    far_y, far_x = FAR * size_hw[0], FAR * size_hw[1]
    if x < -far_x or y < -far_y or x + width > far_x or y + height > far_y:
        raise RowError(f"bbox {shown(repr(value), 60)} lies far outside its {size_hw[1]} x {size_hw[0]} image")
    return x, y, width, height


def refuse_twice(values: Iterable[Any], name: str, what: str) -> None:
    """An InputError for the first value that stands twice."""
    seen = set()
    for index, value in enumerate(values):
        if value in seen:
            raise InputError(f"{name}: {what} {shown(repr(value), 60)} stands twice (again at index {index})")
        seen.add(value)
