"""Objects cut out of their photographs by their masks, as one bank of small pictures; poor ones are left out."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING

from chiasm_registry.errors import ChiasmError

from .data import BadSample, Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

SIDE = 160  # of a cut-out's picture
MARGIN = 4  # empty pixels around the object, so that its soft edge fits
SMALLEST_PX = 24  # of a cut-out's shorter side in its photograph
FILL = (0.25, 0.98)  # how much of its box a usable mask covers: less is a fragment, more is only the box
EDGE_PX = 1.0  # a box this near to the photograph's edge is cut by it
CROWDED = (0.3, 0.6)  # share of a box under other boxes: from the first on taken last, from the second on never


@dataclass(frozen=True)
class CutoutIndex:
    """What planning needs of the bank, position by position; small enough to send to workers."""

    names: tuple[str, ...]
    sizes_unit: tuple[tuple[float, float], ...]  # width, height as shares of the photograph
    fills: tuple[float, ...]  # share of the box that the mask covers
    by_name: tuple[tuple[int, ...], ...]  # positions of each name that has any
    weights: tuple[float, ...]  # running sum over `by_name`, ends at 1
    shapes: bytes = b""  # (M, SIDE, SIDE) bits, eight a byte: where the opacity is half or more

    def draw(self, rng: Random) -> int:
        """A position: first a name, rare ones more often than they occur, then one of its cut-outs."""
        drawn = min(bisect_left(self.weights, rng.random()), len(self.by_name) - 1)
        return rng.choice(self.by_name[drawn])

    def like(self, name: str, rng: Random) -> int | None:
        """A position with this name, None if it has none."""
        same = next((found for found in self.by_name if self.names[found[0]] == name), None)
        return rng.choice(same) if same else None

    def shape(self, position: int) -> NDArray[np.bool_]:
        """(SIDE, SIDE) bool of one cut-out, its margin included."""
        import numpy as np

        count = SIDE * SIDE // 8
        bits = np.frombuffer(self.shapes, dtype=np.uint8, count=count, offset=position * count)
        return np.unpackbits(bits).astype(bool).reshape(SIDE, SIDE)


@dataclass(frozen=True, eq=False)
class CutoutBank:
    """The pictures: (M, 4, 160, 160) uint8, colours already multiplied by their opacity in channel 3."""

    index: CutoutIndex
    pixels: Tensor


def cut_out(
    records: Sequence[Record],
    *,
    per_name: int = 120,
    seed: int = 0,
    workers: int | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> CutoutBank | None:
    """A bank from the objects that have usable masks, at most `per_name` of a name; None if there are not any."""
    import numpy as np
    import torch

    wanted = _candidates(records, per_name, seed)

    def cut(item: tuple[Record, list[int]]) -> list[_Cutout]:
        try:
            return _cut_record(*item)
        except BadSample as bad:
            report(f"no cut-outs from {bad}")
            return []

    with ThreadPoolExecutor(workers) as pool:
        cutouts = [cutout for found in pool.map(cut, wanted) for cutout in found]
    if not cutouts:
        return None
    report(f"{len(cutouts)} cut-outs of {len({c.name for c in cutouts})} names")
    pixels = torch.stack([torch.from_numpy(cutout.pixels) for cutout in cutouts])
    pixels = _softened(pixels)
    shapes = np.packbits(pixels[:, 3].numpy() >= 128).tobytes()
    return CutoutBank(replace(_index(cutouts, records), shapes=shapes), pixels)


@dataclass(frozen=True, eq=False)
class _Cutout:
    name: str
    size_unit: tuple[float, float]
    fill: float
    pixels: NDArray[np.uint8]  # (4, SIDE, SIDE)


def _candidates(records: Sequence[Record], per_name: int, seed: int) -> list[tuple[Record, list[int]]]:
    """Records with the objects to cut from each; objects that are seen whole are taken before those that may not be."""
    rng = Random(seed)
    by_name: dict[str, list[tuple[bool, float, int, int]]] = defaultdict(list)
    for number, record in enumerate(records):
        for position, thing in enumerate(record.objects):
            if _has_mask(record, position) and (crowded := _crowded(record, position)) < CROWDED[1]:
                partial = crowded >= CROWDED[0] or _at_edge(thing.box_xyxy, record.size_hw)
                by_name[thing.name].append((partial, rng.random(), number, position))
    chosen: dict[int, list[int]] = defaultdict(list)
    for entries in by_name.values():
        for _, _, number, position in sorted(entries)[:per_name]:
            chosen[number].append(position)
    return [(records[number], sorted(positions)) for number, positions in sorted(chosen.items())]


def _has_mask(record: Record, position: int) -> bool:
    thing = record.objects[position]
    x0, y0, x1, y1 = thing.box_xyxy
    known = position < len(record.segments) and record.segments[position] is not None
    return known and not thing.crowd and min(x1 - x0, y1 - y0) >= SMALLEST_PX


def _at_edge(box_xyxy: tuple[float, float, float, float], size_hw: tuple[int, int]) -> bool:
    x0, y0, x1, y1 = box_xyxy
    return min(x0, y0) < EDGE_PX or x1 > size_hw[1] - EDGE_PX or y1 > size_hw[0] - EDGE_PX


def _crowded(record: Record, position: int) -> float:
    """How much of an object's box lies under others' boxes that do not hold it: what may stand in front of it."""
    box = record.objects[position].box_xyxy
    area = (box[2] - box[0]) * (box[3] - box[1])
    shared = 0.0
    for other, thing in enumerate(record.objects):
        x0, y0, x1, y1 = thing.box_xyxy
        width, height = min(x1, box[2]) - max(x0, box[0]), min(y1, box[3]) - max(y0, box[1])
        if other != position and width > 0 and height > 0 and width * height < 0.9 * area:
            shared += width * height
    return shared / area


def _cut_record(record: Record, positions: Sequence[int]) -> list[_Cutout]:
    import numpy as np

    from ..images import open_image

    try:
        photograph = np.asarray(open_image(record.path).rgb)
    except ChiasmError as error:
        raise BadSample(record.image_id, f"{record.path.name} cannot be read as an image") from error
    if photograph.shape[:2] != record.size_hw:
        raise BadSample(record.image_id, "the file's size differs from its record's")
    found = []
    for position in positions:
        mask = record.mask(position)
        if mask is not None and mask.any():
            cutout = _cut(photograph, mask, record.objects[position].name)
            if cutout is not None:
                found.append(cutout)
    return found


def _cut(photograph: NDArray[np.uint8], mask: NDArray[np.bool_], name: str) -> _Cutout | None:
    import numpy as np

    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    shape = mask[top:bottom, left:right]
    fill = float(shape.mean())
    if min(shape.shape) < SMALLEST_PX or not FILL[0] <= fill <= FILL[1]:
        return None
    size_unit = (shape.shape[1] / mask.shape[1], shape.shape[0] / mask.shape[0])
    return _Cutout(name, size_unit, fill, _picture(photograph[top:bottom, left:right], shape))


def _picture(colours: NDArray[np.uint8], shape: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(4, SIDE, SIDE): multiplied colours and opacity, shrunk together so that no background bleeds into the edge."""
    import numpy as np
    from PIL import Image

    inner = SIDE - 2 * MARGIN
    sides = (inner, inner)
    premultiplied = Image.fromarray(np.ascontiguousarray(colours * shape[..., None]))
    opacity = Image.fromarray(shape.astype(np.uint8) * 255)
    picture = np.zeros((4, SIDE, SIDE), dtype=np.uint8)
    within = (slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    picture[:3, *within] = np.asarray(premultiplied.resize(sides, Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    picture[3, *within] = np.asarray(opacity.resize(sides, Image.Resampling.BILINEAR))
    return picture


def _softened(pixels: Tensor) -> Tensor:
    """Edges over three pixels instead of one; on multiplied colours this leaves the inside almost as it was."""
    import torch

    kernel = torch.tensor([0.25, 0.5, 0.25])
    soft = []
    for start in range(0, len(pixels), 256):
        part = pixels[start : start + 256]
        flat = part.float().view(-1, 1, SIDE, SIDE)
        flat = torch.nn.functional.conv2d(flat, kernel.view(1, 1, 1, 3), padding=(0, 1))
        flat = torch.nn.functional.conv2d(flat, kernel.view(1, 1, 3, 1), padding=(1, 0))
        soft.append(flat.round_().clamp_(0, 255).to(torch.uint8).view_as(part))
    return torch.cat(soft)


def _index(cutouts: Sequence[_Cutout], records: Sequence[Record]) -> CutoutIndex:
    counts = Counter(thing.name for record in records for thing in record.objects)
    positions: dict[str, list[int]] = defaultdict(list)
    for position, cutout in enumerate(cutouts):
        positions[cutout.name].append(position)
    shares = [1.0 / math.sqrt(counts[name]) for name in positions]
    return CutoutIndex(
        names=tuple(cutout.name for cutout in cutouts),
        sizes_unit=tuple(cutout.size_unit for cutout in cutouts),
        fills=tuple(cutout.fill for cutout in cutouts),
        by_name=tuple(tuple(found) for found in positions.values()),
        weights=tuple(accumulate(share / sum(shares) for share in shares)),
    )
