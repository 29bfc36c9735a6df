"""From a prompt's small grid of logits to a mask of the original image, as runs; no array of floats is as large as it.

A mask is kept as the sorted places, counted down the columns, where it begins, ends, begins, ... (int64).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from chiasm_registry import Mask
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Edges = NDArray[np.int64]

PIECE = 2**21  # pixels that are made at a time


def enlarged(logits: Tensor, region: Sequence[float], size_hw: tuple[int, int]) -> Edges:
    """The edges of `logits > 0`, bilinear, of a grid (g, g) laid over `region` (xyxy pixels of the original)."""
    height, width = size_hw
    first_x, across = _weights(region[0], region[2], width, logits.shape[1])
    first_y, down = _weights(region[1], region[3], height, logits.shape[0])
    if not len(across) or not len(down):
        return np.zeros(0, dtype=np.int64)
    columns = across.to(logits.device) @ logits.float().T  # (columns, g)
    down = down.to(logits.device)
    found = []
    step = max(1, PIECE // len(down))
    for start in range(0, len(columns), step):
        inside = (columns[start : start + step] @ down.T > 0).cpu().numpy()  # (columns, rows)
        found.append(_changes(inside, start + first_x, first_y, height))
    edges = np.concatenate(found)
    twice = np.flatnonzero(edges[1:] == edges[:-1])  # a run that goes on in the next column
    return np.delete(edges, np.concatenate([twice, twice + 1]))


def _weights(low: float, high: float, size: int, cells: int) -> tuple[int, Tensor]:
    """The first pixel whose middle lies between `low` and `high`, and (pixels, cells) of bilinear weights."""
    first, last = max(0, int(np.ceil(low - 0.5))), min(size, int(np.ceil(high - 0.5)))
    places = (torch.arange(first, max(first, last), dtype=torch.float64) + 0.5 - low) / (high - low) * cells - 0.5
    places = places.clamp(0, cells - 1)
    left = places.floor().long().clamp(max=cells - 2)
    weights = torch.zeros(len(places), cells)
    share = (places - left).float()[:, None]
    return first, weights.scatter_(1, left[:, None], 1 - share).scatter_(1, left[:, None] + 1, share)


def _changes(inside: NDArray[np.bool_], first_x: int, first_y: int, height: int) -> Edges:
    columns, rows = inside.shape
    framed = np.zeros((columns, rows + 2), dtype=bool)
    framed[:, 1:-1] = inside
    flat = np.flatnonzero(framed[:, 1:] != framed[:, :-1])
    column, row = np.divmod(flat, rows + 1)
    changes: Edges = (column + first_x) * height + row + first_y
    return changes


def united(parts: Sequence[Edges]) -> Edges:
    """The edges of what is in any of several masks."""
    if len(parts) == 1:
        return parts[0]
    places = np.concatenate([np.zeros(0, dtype=np.int64), *parts])
    steps = np.concatenate([np.zeros(0, dtype=np.int64), *(np.where(np.arange(len(p)) % 2, -1, 1) for p in parts)])
    order = np.lexsort((-steps, places))  # what begins at a place comes before what ends there
    depth = np.cumsum(steps[order])
    edge = (depth == 0) | ((depth == 1) & (steps[order] == 1))
    edges: Edges = places[order][edge]
    return edges


def as_mask(edges: Edges, size_hw: tuple[int, int]) -> Mask:
    """The mask as the registry keeps it."""
    bounds = np.concatenate([[0], edges, [size_hw[0] * size_hw[1]]])
    runs = np.diff(bounds)
    if len(runs) > 1 and runs[-1] == 0:
        runs = runs[:-1]
    return Mask.model_validate({"rle": {"size": list(size_hw), "counts": runs.tolist()}})
