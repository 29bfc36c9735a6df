"""Masks as polygons, for formats that know nothing else: outlines traced along the edges of pixels.

Frame: pixels of the image, (0, 0) the corner of the first pixel, so that a traced square of one pixel has side 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Polygon = list[tuple[float, float]]  # x, y
LEAST = 3  # corners


def mask_to_polygons(mask: NDArray[np.bool_], tolerance_px: float = 0.0) -> tuple[list[Polygon], list[Polygon]]:
    """The outlines of a mask's pieces and of its holes, largest first.

    With `tolerance_px` corners are left out as long as the outline moves by no more (Douglas and Peucker, 1973).
    """
    sized = sorted(((_area(loop), loop) for loop in _loops(mask)), key=lambda one: -abs(one[0]))
    pieces, holes = ([_simplified(loop, tolerance_px) for area, loop in sized if area * way > 0] for way in (1, -1))
    return pieces, holes


def without_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask with its holes filled, and with them what lies inside: to count outlines twice would cut it out."""
    import numpy as np

    walls = np.zeros((mask.shape[0], mask.shape[1] + 1), dtype=np.int32)  # +1 where a piece begins, -1 where it ends
    for loop in _loops(mask):
        if _area(loop) < 0:
            continue
        for (x, y), (other_x, other_y) in zip(loop, [*loop[1:], loop[0]], strict=True):
            if x == other_x:
                walls[int(min(y, other_y)) : int(max(y, other_y)), int(x)] += 1 if other_y < y else -1
    filled: NDArray[np.bool_] = walls.cumsum(1)[:, :-1] > 0
    return filled


def joined(polygons: list[Polygon]) -> Polygon:
    """Several outlines as one, each reached from the first by a bridge without width that is walked both ways."""
    first, *others = polygons
    one = list(first)
    for other in others:
        at, to = _nearest(one, other)
        one = [*one[: at + 1], *other[to:], *other[: to + 1], *one[at:]]
    return one


def _loops(mask: NDArray[np.bool_]) -> list[Polygon]:
    """Closed walks with the mask on their right hand (clockwise round pieces), corners only."""
    ways = _edges(mask)
    loops = []
    while ways:
        start = next(iter(ways))
        place, heading, loop = start, (0, 0), []
        while place in ways:
            options = ways[place]
            # where two pieces touch at a corner the sharper turn to the right keeps them apart
            step = min(options, key=lambda way: _turn(heading, way)) if len(options) > 1 else options[0]
            options.remove(step)
            if not options:
                del ways[place]
            if step != heading:
                loop.append((float(place[0]), float(place[1])))
            place, heading = (place[0] + step[0], place[1] + step[1]), step
            if place == start:
                break
        if len(loop) > 1 and _same_line(loop[-1], loop[0], loop[1]):
            loop = loop[1:]
        loops.append(loop)
    return loops


def _edges(mask: NDArray[np.bool_]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """From each corner the steps along pixels' edges that have the mask on their right."""
    import numpy as np

    inside = np.pad(mask.astype(np.int8), 1)
    ways: dict[tuple[int, int], list[tuple[int, int]]] = {}

    def put(rows: NDArray[np.int64], columns: NDArray[np.int64], step: tuple[int, int]) -> None:
        for y, x in zip(rows.tolist(), columns.tolist(), strict=True):
            ways.setdefault((x, y), []).append(step)

    down, across = np.diff(inside, axis=0)[:, 1:-1], np.diff(inside, axis=1)[1:-1]
    rows, columns = np.nonzero(down == 1)
    put(rows, columns, (1, 0))  # the mask begins below: to the right
    rows, columns = np.nonzero(down == -1)
    put(rows, columns + 1, (-1, 0))
    rows, columns = np.nonzero(across == -1)
    put(rows, columns, (0, 1))  # it ends to the right: down
    rows, columns = np.nonzero(across == 1)
    put(rows + 1, columns, (0, -1))
    return ways


def _turn(heading: tuple[int, int], way: tuple[int, int]) -> int:
    """Smallest for a right turn; y points down."""
    return heading[1] * way[0] - heading[0] * way[1]


def _same_line(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[0] - a[0]) * (c[1] - b[1]) == (b[1] - a[1]) * (c[0] - b[0])


def _area(loop: Polygon) -> float:
    """Positive for a clockwise walk, y down."""
    pairs = zip(loop, [*loop[1:], loop[0]], strict=True)
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in pairs) / 2


def _simplified(loop: Polygon, tolerance_px: float) -> Polygon:
    import numpy as np

    if tolerance_px <= 0 or len(loop) <= LEAST:
        return loop
    corners = np.array(loop)
    far = int(((corners - corners[0]) ** 2).sum(1).argmax())
    keep = {0, far}
    pending = [(0, far), (far, len(corners))]
    while pending:
        low, high = pending.pop()
        if high - low < 2:
            continue
        a, b = corners[low], corners[high % len(corners)]
        way = b - a
        between = corners[low + 1 : high] - a
        off = np.abs(way[0] * between[:, 1] - way[1] * between[:, 0]) / max(float(np.hypot(*way)), 1e-9)
        worst = int(off.argmax())
        if off[worst] > tolerance_px:
            keep.add(low + 1 + worst)
            pending += [(low, low + 1 + worst), (low + 1 + worst, high)]
    fewer = [loop[k] for k in sorted(keep)]
    # of what is as narrow as the tolerance nothing would be left
    return fewer if len(fewer) >= LEAST and _area(fewer) * _area(loop) > 0 else loop


def _nearest(one: Polygon, other: Polygon) -> tuple[int, int]:
    import numpy as np

    gaps = ((np.array(one)[:, None] - np.array(other)[None]) ** 2).sum(-1)
    at, to = np.unravel_index(int(gaps.argmin()), gaps.shape)
    return int(at), int(to)
