"""Where label tags go: inside the picture, at their box, and not over one another where that can be avoided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Rect(NamedTuple):
    """Whole pixels, right and lower edges exclusive."""

    x0: int
    y0: int
    x1: int
    y1: int


def place_tags(
    boxes: Sequence[Rect], sizes: Sequence[tuple[int, int]], image_size: tuple[int, int], line: int
) -> list[Rect]:
    """A rectangle for each tag, earlier ones choosing first; `sizes` and `image_size` are width, height."""
    placed: list[Rect] = []
    for box, size in zip(boxes, sizes, strict=True):
        others = [other for other in boxes if other is not box]
        places = list(_places(box, size, image_size, line))
        costs = [_cost(place, box, placed, others) + 0.02 * rank for rank, place in enumerate(places)]
        placed.append(places[costs.index(min(costs))])
    return placed


def _places(box: Rect, size: tuple[int, int], image_size: tuple[int, int], line: int) -> Iterator[Rect]:
    """Candidates, the most usual first: on the upper edge, inside, under the lower edge, then along the sides."""
    width, height = size
    left, right = box.x0, box.x1 - width
    for y in (box.y0 - height + line, box.y0, box.y1 - line, box.y1 - height):
        for x in (left, right, (left + right) // 2):
            yield _inside(x, y, size, image_size)
    for step in range(1, 6):
        for x in (left, right):
            yield _inside(x, box.y0 + step * height, size, image_size)
            yield _inside(x, box.y0 + line - (step + 1) * height, size, image_size)


def _inside(x: int, y: int, size: tuple[int, int], image_size: tuple[int, int]) -> Rect:
    x0 = max(0, min(x, image_size[0] - size[0]))
    y0 = max(0, min(y, image_size[1] - size[1]))
    return Rect(x0, y0, min(x0 + size[0], image_size[0]), min(y0 + size[1], image_size[1]))


def _cost(tag: Rect, box: Rect, tags: Sequence[Rect], others: Sequence[Rect]) -> float:
    area = max(1, (tag.x1 - tag.x0) * (tag.y1 - tag.y0))
    over_tags = sum(overlap(tag, other) for other in tags) / area
    over_small = sum(overlap(tag, other) / max(1, (other.x1 - other.x0) * (other.y1 - other.y0)) for other in others)
    hides = overlap(tag, box) / max(1, (box.x1 - box.x0) * (box.y1 - box.y0))  # a tag that covers its own small thing
    gaps = (tag.y1 - box.y0, tag.y0 - box.y0, tag.y0 - box.y1, tag.y1 - box.y1)
    away = min(map(abs, gaps)) // 8 / (tag.y1 - tag.y0)  # a line's width is not away
    return 100 * over_tags + 3 * over_small + 3 * hides + 8 * away


def overlap(a: Rect, b: Rect) -> int:
    """The number of pixels two rectangles share."""
    return max(0, min(a.x1, b.x1) - max(a.x0, b.x0)) * max(0, min(a.y1, b.y1) - max(a.y0, b.y0))
