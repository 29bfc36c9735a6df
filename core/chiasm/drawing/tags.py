"""Where label tags go: inside the picture, at their box, and not over one another where that can be avoided."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


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
    import numpy as np

    count = len(boxes)
    rects = np.zeros((4, 2 * count))  # the boxes, then the tags as they are placed
    rects[:, :count] = np.array(boxes, dtype=np.float64).reshape(-1, 4).T
    # what a tag hides of a small thing counts for more
    weights = 3 / np.maximum(1, (rects[2] - rects[0]) * (rects[3] - rects[1]))
    chosen: list[Rect] = []
    for number, (box, size) in enumerate(zip(boxes, sizes, strict=True), count):
        places = list(_places(box, size, image_size, line))
        weights[count:] = 100 / _area(places[0])  # all have one area
        hidden = _covered(places, rects[:, :number], weights[:number])
        costs = [hidden[rank] + 8 * _away(place, box) + 0.02 * rank for rank, place in enumerate(places)]
        chosen.append(places[costs.index(min(costs))])
        rects[:, number] = chosen[-1]
    return chosen


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


def _covered(places: Sequence[Rect], rects: Array, weights: Array) -> list[float]:
    """The pixels of `rects`, (4, N), under each place, by weight.

    Places share their sides: each pair of sides is cut with the rectangles once, all products are one of matrices.
    """
    columns, rows = (dict.fromkeys(place[axis::2] for place in places) for axis in (0, 1))
    wide, high = _shared(list(columns), rects[::2]) * weights, _shared(list(rows), rects[1::2])
    table = dict(zip(product(columns, rows), (wide @ high.T).ravel().tolist(), strict=True))
    return [table[place[::2], place[1::2]] for place in places]


def _shared(spans: Sequence[tuple[int, ...]], others: Array) -> Array:
    """How much each span of K shares with each of N, given as their (2, N) lower and upper ends: (K, N)."""
    import numpy as np

    low, high = np.array(spans, dtype=np.float64).T[:, :, None]
    shared: Array = np.minimum(high, others[1]) - np.maximum(low, others[0])
    return np.maximum(0, shared, out=shared)


def _away(tag: Rect, box: Rect) -> float:
    gaps = (tag.y1 - box.y0, tag.y0 - box.y0, tag.y0 - box.y1, tag.y1 - box.y1)
    return min(map(abs, gaps)) // 8 / (tag.y1 - tag.y0)  # a line's width is not away


def _area(rect: Rect) -> int:
    return max(1, (rect.x1 - rect.x0) * (rect.y1 - rect.y0))
