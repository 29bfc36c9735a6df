"""Planned views become pixels, a whole batch at once on the device that holds the photographs.

`collate_plans` runs in a worker, `render` where the tensors are; the counts in the batch are plain numbers, so that
drawing never waits for the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from .augment import LEVELS, WHOLE, pyramid_level, recolour, resample, warp
from .cutouts import SIDE
from .scenes import Paste, Tile, ViewPlan
from .tints import tint_row, tinted

if TYPE_CHECKING:
    from torch import Tensor


def collate_plans(plans: Sequence[ViewPlan], *, source: int = 480) -> dict[str, Any]:
    """The tensors that `render` wants of B plans; `source` is the store's size of a photograph.

    `colours` (B, 3, 4); of all T tiles `tile_row, tile_photo` (T,), `tile_affine` (T, 2, 3), `tile_window` (T, 4);
    of all pastes in drawing order `paste_row, paste_cutout` (K,), `paste_affine` (K, 2, 3), `paste_gain` (K,) and
    `paste_tint` (K, 5).
    `tile_levels` and `paste_groups` are tuples of numbers: how many items, in order, share a pyramid level.
    """
    size = plans[0].size_hw[0]
    tiles = [(pyramid_level(tile.affine, source, size), row, tile) for row, p in enumerate(plans) for tile in p.tiles]
    tiles.sort(key=lambda entry: entry[0])
    levels = [level for level, _, _ in tiles]
    return {
        "colours": torch.tensor([p.colours for p in plans]).view(-1, 3, 4),
        **_tile_tensors([(row, tile) for _, row, tile in tiles]),
        "tile_levels": tuple(levels.count(level) for level in range(LEVELS)),
        "tile_split": any(tile.window != WHOLE for _, _, tile in tiles),
        **_paste_tensors(plans, size),
    }


def _tile_tensors(tiles: Sequence[tuple[int, Tile]]) -> dict[str, Tensor]:
    return {
        "tile_row": torch.tensor([row for row, _ in tiles]),
        "tile_photo": torch.tensor([tile.photo for _, tile in tiles]),
        "tile_affine": torch.tensor([tile.affine for _, tile in tiles]).view(-1, 2, 3),
        "tile_window": torch.tensor([tile.window for _, tile in tiles]),
    }


def _paste_tensors(plans: Sequence[ViewPlan], size: int) -> dict[str, Any]:
    """Pastes by turn (the first of every view, the second, ...), in a turn by level: a group touches a view once."""
    entries = []
    for row, planned in enumerate(plans):
        for turn, paste in enumerate(planned.pastes):
            affine = _paste_affine(paste)
            entries.append((turn, pyramid_level(affine, SIDE, size), row, paste, affine))
    entries.sort(key=lambda entry: entry[:3])
    groups: dict[tuple[int, int], int] = {}
    for turn, level, *_ in entries:
        groups[turn, level] = groups.get((turn, level), 0) + 1
    return {
        "paste_row": torch.tensor([entry[2] for entry in entries], dtype=torch.long),
        "paste_cutout": torch.tensor([entry[3].cutout for entry in entries], dtype=torch.long),
        "paste_affine": torch.tensor([entry[4] for entry in entries]).view(-1, 2, 3),
        "paste_gain": torch.tensor([entry[3].gain for entry in entries]),
        "paste_tint": torch.tensor([tint_row(entry[3].tint) for entry in entries]).view(-1, 5),
        "paste_groups": tuple((level, count) for (_, level), count in groups.items()),
    }


def _paste_affine(paste: Paste) -> tuple[float, float, float, float, float, float]:
    x0, y0, x1, y1 = paste.box_unit
    return (x0 - x1, 0.0, x1, 0.0, y1 - y0, y0) if paste.flip else (x1 - x0, 0.0, x0, 0.0, y1 - y0, y0)


@torch.no_grad()
def render(photos: Tensor, cutouts: Tensor | None, batch: Mapping[str, Any], size: int = 448) -> Tensor:
    """(B, 3, size, size) floats in 0..1 of a collated batch; `photos` (N, 3, S, S) and `cutouts` (M, 4, s, s) uint8.

    The batch's tensors must be on the device of `photos`.
    """
    views = warp(photos, batch["tile_photo"], batch["tile_affine"], size, levels=batch["tile_levels"])
    views = _joined(views, batch, size)
    if cutouts is not None and batch["paste_groups"]:
        _draw_pastes(views, cutouts, batch, size)
    return recolour(views, batch["colours"])


def _joined(tiles: Tensor, batch: Mapping[str, Any], size: int) -> Tensor:
    """One view a row from its tiles, each seen in its window; the windows of a view cover it without overlap."""
    views = torch.zeros((len(batch["colours"]), *tiles.shape[1:]), device=tiles.device)
    if not batch["tile_split"]:
        return views.index_copy_(0, batch["tile_row"], tiles)
    middle = (torch.arange(size, device=tiles.device) + 0.5) / size
    x0, y0, x1, y1 = batch["tile_window"].unsqueeze(2).unbind(1)
    columns, rows = (middle >= x0) & (middle < x1), (middle >= y0) & (middle < y1)
    return views.index_add_(0, batch["tile_row"], tiles * columns[:, None, None, :] * rows[:, None, :, None])


def _draw_pastes(views: Tensor, cutouts: Tensor, batch: Mapping[str, Any], size: int) -> None:
    start = 0
    for level, count in batch["paste_groups"]:
        part = slice(start, start + count)
        start += count
        pictures = cutouts[batch["paste_cutout"][part]].float().div_(255.0)
        pictures = F.avg_pool2d(pictures, 2**level) if level else pictures
        placed, inside = resample(pictures, batch["paste_affine"][part], size, "bilinear")
        placed = placed * inside.unsqueeze(1)
        colours, opacity = placed[:, :3] * batch["paste_gain"][part].view(-1, 1, 1, 1), placed[:, 3:]
        colours = tinted(colours, opacity, batch["paste_tint"][part])
        row = batch["paste_row"][part]
        views[row] = views[row] * (1.0 - opacity) + colours
