"""What callers hand over, checked: one image or a list, one prompt or a list; and the clock of a request."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from chiasm_registry import InputError
from chiasm_registry.geometry import clip_xyxy

from .images import OpenedImage, open_image
from .limits import Limits
from .options import listed, told
from .text import check_text

Four = tuple[float, float, float, float]
OUTSIDE_PX = 1.0  # a box may leave the image by this much, as annotations are rounded; it is clipped


@dataclass(frozen=True)
class Request:
    """One prompt with its images, checked."""

    prompt: str
    images: tuple[OpenedImage, ...]


@dataclass(frozen=True)
class Asked:
    """One thing that is asked of an image: a phrase, and what a caller points at in it, in pixels of the image."""

    phrase: str
    boxes: tuple[Four, ...] = ()  # xyxy
    points: tuple[tuple[float, float, int], ...] = ()  # x, y, and 1 in it or 0 beside it


class Clock:
    """Seconds by name, added up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def opened(image: Any, limits: Limits) -> tuple[list[OpenedImage], bool]:
    """The images of a batch, and whether it was one image outside a list."""
    if isinstance(image, tuple):
        raise InputError("a tuple is several images of one request, which only ask() takes; a list is a batch")
    if not isinstance(image, list):
        return [open_image(image, limits=limits)], True
    return [open_image(source, limits=limits) for source in image], False


def requests_of(image: Any, prompt: Any, limits: Limits) -> tuple[list[Request], bool]:
    """The requests of a batch, and whether it was one outside a list; see `Model.ask` for what goes together."""
    if isinstance(prompt, list) and not isinstance(image, list):
        raise InputError("a list of prompts needs a list of images, one each; for one image ask one prompt at a time")
    images = image if isinstance(image, list) else [image]
    if not isinstance(prompt, list):
        prompt = check_text(prompt, "the prompt", max_chars=limits.prompt_chars)
    prompts = prompt if isinstance(prompt, list) else [prompt] * len(images)
    if len(prompts) != len(images):
        raise InputError(f"{len(prompts)} prompts for {len(images)} images; give one str, or one prompt an image")
    return [_request(own, text, limits) for own, text in zip(images, prompts, strict=True)], not isinstance(image, list)


def _request(image: Any, prompt: Any, limits: Limits) -> Request:
    sources = image if isinstance(image, tuple) else () if image is None else (image,)
    if isinstance(image, tuple) and not image:
        raise InputError("the tuple of images is empty; give None to ask without an image")
    if len(sources) > limits.images:
        raise InputError(f"{len(sources)} images in one request; at most {limits.images} are taken")
    text = check_text(prompt, "the prompt", max_chars=limits.prompt_chars)
    return Request(text, tuple(open_image(source, limits=limits) for source in sources))


def pointed_at(
    image: Any, names: Any, boxes: Any, points: Any, labels: Any, limits: Limits
) -> tuple[OpenedImage, list[Asked]]:
    """The one image, and what boxes and points ask of it in the caller's order; see `Model.segment` for their forms."""
    if boxes is None and points is None and labels is None:
        raise InputError("nothing says what to segment; give names, boxes or points")
    sources, single = opened(image, limits)
    if not single:
        raise InputError("boxes and points are of one image; call segment() for each")
    size_hw = sources[0].size_hw
    fours = [_box(box, k, size_hw) for k, box in enumerate(_rows(boxes, "boxes"))]
    groups = _groups(points, labels, size_hw)
    if fours and groups and len(groups) != len(fours):
        raise InputError(f"{len(fours)} boxes and {len(groups)} lists of points; give each box its own list, or none")
    count = max(len(fours), len(groups))
    if count > limits.phrases:
        raise InputError(f"{count:,} prompts are too many for one request; at most {limits.phrases:,} are taken")
    given = [] if names is None else listed(names, "names")
    said = [check_text(name, f"names[{k}]", max_chars=limits.phrase_chars) for k, name in enumerate(given)] or [""]
    if len(said) not in (1, count):
        raise InputError(f"{len(said)} names for {count} prompts; give one, one each, or None")
    said = said if len(said) == count else said * count
    shown = [(said[k], (fours[k],) if fours else (), groups[k] if groups else ()) for k in range(count)]
    return sources[0], [Asked(*one) for one in shown]


def _rows(values: Any, what: str) -> list[Any]:
    """A list or array of the caller's, as a list; None is none, one that is empty is refused."""
    if values is None:
        return []
    rows = values.tolist() if hasattr(values, "tolist") else listed(values, what)
    if not isinstance(rows, list) or not rows:
        raise InputError(f"{what} must be a list with something in it; leave it out to ask by name")
    return rows


def _numbers(row: Any, count: int, what: str) -> tuple[float, ...]:
    values = row.tolist() if hasattr(row, "tolist") else row
    if not isinstance(values, (list, tuple)) or len(values) != count:
        size = f"of {len(values)} items" if isinstance(values, (list, tuple)) else told(row)
        raise InputError(f"{what} is {size}; it must be {count} finite numbers")
    return tuple(_number(value, f"{what}[{k}]") for k, value in enumerate(values))


def _number(value: Any, what: str) -> float:
    """A finite number of Python's or of an array."""
    value = value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value
    try:
        if type(value) in (int, float) and math.isfinite(value):
            return float(value)
    except OverflowError:  # a whole number that no float can hold
        pass
    raise InputError(f"{what} is {told(value)}; it must be a finite number")


def _box(row: Any, k: int, size_hw: tuple[int, int]) -> Four:
    x0, y0, x1, y1 = _numbers(row, 4, f"boxes[{k}]")
    place, (height, width) = f"boxes[{k}] ({x0:g}, {y0:g}, {x1:g}, {y1:g})", size_hw
    if x1 <= x0 or y1 <= y0:
        raise InputError(f"{place} is inverted or empty; give left, top, right, bottom in pixels")
    if min(x0, y0) < -OUTSIDE_PX or x1 > width + OUTSIDE_PX or y1 > height + OUTSIDE_PX:
        raise InputError(f"{place} leaves the image of {width} x {height} pixels; clip it first")
    return clip_xyxy((x0, y0, x1, y1), size_hw)


def _groups(points: Any, labels: Any, size_hw: tuple[int, int]) -> list[tuple[tuple[float, float, int], ...]]:
    """The points of each prompt: of one if they are a flat list, else of one a list."""
    rows = _rows(points, "points")
    if not rows:
        if labels is not None:
            raise InputError("labels say what points are; give points, too")
        return []
    first = rows[0].tolist() if hasattr(rows[0], "tolist") else rows[0]
    flat = isinstance(first, (list, tuple)) and all(type(v) in (int, float) for v in first)
    nested = [rows] if flat else [_rows(row, f"points[{k}]") for k, row in enumerate(rows)]
    told_labels = [None] * len(nested) if labels is None else _rows(labels, "labels")
    if labels is not None and flat:
        told_labels = [told_labels]
    if len(told_labels) != len(nested):
        raise InputError(f"{len(told_labels)} lists of labels for {len(nested)} lists of points; give one each")
    return [_group(own, kinds, size_hw) for own, kinds in zip(nested, told_labels, strict=True)]


def _group(points: list[Any], labels: Any, size_hw: tuple[int, int]) -> tuple[tuple[float, float, int], ...]:
    kinds = [1] * len(points) if labels is None else _rows(labels, "labels")
    if len(kinds) != len(points):
        raise InputError(f"{len(kinds)} labels for {len(points)} points; give one each")
    found = []
    for k, (point, kind) in enumerate(zip(points, kinds, strict=True)):
        x, y = _numbers(point, 2, f"points[{k}]")
        if type(kind) not in (int, bool) or kind not in (0, 1):
            raise InputError(f"labels[{k}] is {told(kind)}; it must be 1 (inside) or 0 (outside)")
        if not (0 <= x <= size_hw[1] and 0 <= y <= size_hw[0]):
            raise InputError(f"points[{k}] ({x:g}, {y:g}) is outside the image of {size_hw[1]} x {size_hw[0]} pixels")
        found.append((x, y, int(kind)))
    if not any(kind for _, _, kind in found):
        raise InputError("all points are labelled 0; at least one must lie in what is meant")
    return tuple(found)
