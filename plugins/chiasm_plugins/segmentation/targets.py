"""What a phrase's masks should have been in a training image, as tensors small enough to travel from a worker."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from chiasm_registry import Sample
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST = 5  # objects of one phrase that bring their masks
CLICKS = 4  # points in an object, of these half in its middle, and as many beside it
TRIED = 24  # pixels of which the middle is chosen
FITS = 0.7  # IoU of a mask's own box with the annotated one below which the mask's is the prompt: the rest is hidden


@dataclass(frozen=True, eq=False)
class MaskTarget:
    """A phrase's truth, in pixels of the sample. Masks are bits, eight a byte: (height, ceil(width / 8)) uint8.

    The first `len(masks)` of `boxes` (n, 4) have `masks` (m, h, w8), `clicks` (m, CLICKS, 2) inside, `beside`
    (m, CLICKS, 2) outside; of the other objects only the box is known. `whole` (h, w8) is everything that the phrase
    means, None where a mask is missing. `group` says that a crowd, which is no object, is among it.
    """

    boxes: Tensor
    masks: Tensor
    clicks: Tensor
    beside: Tensor
    whole: Tensor | None
    group: bool
    size_hw: tuple[int, int]


def mask_targets(sample: Sample) -> Sequence[MaskTarget]:
    """A target for each of the sample's phrases."""
    return [_target(sample, matches) for matches in sample.matches]


def _target(sample: Sample, matches: Sequence[int]) -> MaskTarget:
    own = [k for k in matches if not sample.objects[k].crowd]
    crowds = [k for k in matches if sample.objects[k].crowd]
    masks = {k: mask for k in matches if (mask := sample.mask(k)) is not None and mask.any()}
    known, bare = [k for k in own if k in masks][:MOST], [k for k in own if k not in masks]
    points = [_points(masks[k], sample.objects[k].box_xyxy) for k in known]
    whole = np.logical_or.reduce([masks[k] for k in matches]) if own and len(masks) == len(matches) else None
    height, width = sample.size_hw
    boxes = [_seen_box(masks[k], sample.objects[k].box_xyxy) for k in known]
    boxes += [sample.objects[k].box_xyxy for k in bare]
    packed = [np.packbits(masks[k], axis=1) for k in known]
    return MaskTarget(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        masks=torch.from_numpy(np.stack(packed)) if packed else torch.zeros(0, height, -(-width // 8)).byte(),
        clicks=torch.from_numpy(np.array([p[0] for p in points], dtype=np.float32).reshape(-1, CLICKS, 2)),
        beside=torch.from_numpy(np.array([p[1] for p in points], dtype=np.float32).reshape(-1, CLICKS, 2)),
        whole=None if whole is None else torch.from_numpy(np.packbits(whole, axis=1)),
        group=bool(crowds),
        size_hw=sample.size_hw,
    )


def _seen_box(mask: NDArray[np.bool_], box_xyxy: tuple[float, ...]) -> tuple[float, ...]:
    """The annotated box, unless it holds much that is hidden here: then the box of what is seen."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    tight = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    width = min(tight[2], box_xyxy[2]) - max(tight[0], box_xyxy[0])
    height = min(tight[3], box_xyxy[3]) - max(tight[1], box_xyxy[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (tight, box_xyxy)]
    return box_xyxy if shared >= FITS * (sum(areas) - shared) else tight


def _points(mask: NDArray[np.bool_], box_xyxy: tuple[float, ...]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points inside, the first half of them near the middle, and points of the box that are outside.

    They follow from the mask alone, as an item of a run may depend on nothing but its number.
    """
    rng = np.random.default_rng(zlib.crc32(mask.tobytes()))
    inside = _some(rng, np.flatnonzero(mask), TRIED)
    rows, columns = np.divmod(inside, mask.shape[1])
    depth = _depth(mask, rows, columns)
    chosen = np.concatenate([inside[np.argsort(-depth)[: CLICKS // 2]], inside[: CLICKS - CLICKS // 2]])
    x0, y0, x1, y1 = (int(edge) for edge in box_xyxy)
    around = np.zeros_like(mask)
    margin = 2 + (x1 - x0 + y1 - y0) // 8
    around[max(0, y0 - margin) : y1 + margin, max(0, x0 - margin) : x1 + margin] = True
    free = np.flatnonzero(around & ~mask)
    outside = _some(rng, free, CLICKS) if len(free) else np.zeros(CLICKS, dtype=np.int64)
    return _as_xy(chosen, mask.shape[1]), _as_xy(outside, mask.shape[1])


def _depth(mask: NDArray[np.bool_], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far some pixels are from the mask's edge: the shorter way along their column and along their row."""
    depth = []
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        ways = (mask[row, column:], mask[row, column::-1], mask[row:, column], mask[row::-1, column])
        depth.append(min(len(way) if way.all() else int(way.argmin()) for way in ways))
    return np.array(depth, dtype=np.float64)


def _some(rng: np.random.Generator, places: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return places[rng.integers(0, len(places), count)]


def _as_xy(flat: NDArray[np.int64], width: int) -> NDArray[np.float32]:
    rows, columns = np.divmod(flat, width)
    return np.stack([columns + 0.5, rows + 0.5], 1).astype(np.float32)
