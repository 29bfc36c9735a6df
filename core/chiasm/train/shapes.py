"""The masks of a view's objects as they are seen in it, drawn only when a task's targets ask for one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chiasm_registry.contract import SampleObject

from .cutouts import CutoutIndex
from .data import Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .scenes import Paste, Tile, ViewPlan

    Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class Thing(SampleObject):
    """An object of a view and where its pixels come from: object `part` of the photograph in `tile`, or `paste`."""

    tile: int = -1
    part: int = -1
    paste: int = -1
    quality: str = ""  # a colour that is sure
    hidden: float = 0.0  # share of its box that pastes cover


def things(objects: Sequence[SampleObject], tile: int) -> list[Thing]:
    """A photograph's objects with their origin."""
    return [Thing(o.name, o.box_xyxy, o.crowd, tile=tile, part=part) for part, o in enumerate(objects)]


class Shapes:
    """`shapes(i)` is the (size, size) bool mask of what is seen of object i, None where the data know no mask.

    Pastes hide what was drawn before them. An annotation that cannot be read is a `BadSample`.
    """

    def __init__(self, view: ViewPlan, records: Sequence[Record], cutouts: CutoutIndex | None) -> None:
        self.view, self.records, self.cutouts = view, records, cutouts
        self._drawn: dict[int, Bits | None] = {}
        self._pasted: dict[int, Bits] = {}

    def __call__(self, index: int) -> Bits | None:
        if index not in self._drawn:
            self._drawn[index] = self._draw(self.view.objects[index])
        return self._drawn[index]

    def _draw(self, thing: SampleObject) -> Bits | None:
        if not isinstance(thing, Thing):
            return None
        if thing.paste >= 0:
            seen, later = self._paste(thing.paste).copy(), thing.paste + 1
        else:
            tile, later = self.view.tiles[thing.tile], 0
            mask = self.records[tile.photo].mask(thing.part)
            if mask is None:
                return None
            seen = _placed(mask, tile, self.view.size_hw[0])
        for number in range(later, len(self.view.pastes)):
            seen &= ~self._paste(number)
        return seen

    def _paste(self, number: int) -> Bits:
        if number not in self._pasted:
            assert self.cutouts is not None
            paste = self.view.pastes[number]
            self._pasted[number] = _pasted(self.cutouts.shape(paste.cutout), paste, self.view.size_hw[0])
        return self._pasted[number]


def _placed(mask: Bits, tile: Tile, size: int) -> Bits:
    """A photograph's mask (h, w) as its tile shows it."""
    a, _, c, _, e, f = tile.affine
    x0, y0, x1, y1 = tile.window
    return _looked_up(mask, (e, f, y0, y1), (a, c, x0, x1), size)


def _pasted(shape: Bits, paste: Paste, size: int) -> Bits:
    x0, y0, x1, y1 = paste.box_unit
    across = (x0 - x1, x1) if paste.flip else (x1 - x0, x0)
    return _looked_up(shape, (y1 - y0, y0, 0.0, 1.0), (*across, 0.0, 1.0), size)


def _looked_up(mask: Bits, down: tuple[float, ...], across: tuple[float, ...], size: int) -> Bits:
    """The view's pixels looked up in `mask`; each way is (scale, shift, first and last edge seen) in units of the view.

    `mask` itself covers 0..1 before it is scaled and shifted.
    """
    import numpy as np

    middle = (np.arange(size) + 0.5) / size
    seen = np.zeros((size, size), dtype=bool)
    places = []
    for (scale, shift, low, high), length in zip((down, across), mask.shape, strict=True):
        place = np.floor((middle - shift) / scale * length).astype(np.int64)
        inside = np.flatnonzero((place >= 0) & (place < length) & (middle >= low) & (middle < high))
        places.append((inside, place[inside]))
    (rows, from_rows), (columns, from_columns) = places
    if len(rows) and len(columns):  # each is one stretch of neighbours
        seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = mask[from_rows][:, from_columns]
    return seen
