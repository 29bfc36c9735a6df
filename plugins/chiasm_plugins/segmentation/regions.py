"""Regions of a view: a prompt's own square grid, laid over the place that it is about.

Frames: boxes and points are in pixels of the view, (0, 0) the corner of the first pixel; a map's location k stands at
the middle of the view's pixel k * stride (strided convolutions begin at the first pixel).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ENLARGED = 1.3  # a region's side by that of its box: what is beside a thing shows where it ends
SMALLEST_PX = 32.0  # of a region's side


def around(boxes: Tensor) -> Tensor:
    """(..., 4) regions round boxes, xyxy; they may reach over the view's edge."""
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    half = ((boxes[..., 2:] - boxes[..., :2]) * ENLARGED).clamp(min=SMALLEST_PX) / 2
    return torch.cat([middle - half, middle + half], -1)


def into(regions: Tensor, places: Tensor, side: int) -> Tensor:
    """Places (..., T, 2) of the view in units of their regions (..., 4), which are `side` units wide and high."""
    low, high = regions[..., None, :2], regions[..., None, 2:]
    return (places - low) / (high - low) * side


def middles(regions: Tensor, side: int) -> Tensor:
    """(..., side, side, 2): x and y in the view of the middles of a region's cells."""
    steps = (torch.arange(side, device=regions.device) + 0.5) / side
    low, high = regions[..., None, :2], regions[..., None, 2:]
    x, y = (low + steps[:, None] * (high - low)).unbind(-1)  # (..., side) each
    return torch.stack(
        [x[..., None, :].expand(*x.shape[:-1], side, side), y[..., :, None].expand(*y.shape[:-1], side, side)], -1
    )


def look(maps: Tensor, regions: Tensor, side: int, stride: float, offset: float = 0.5) -> Tensor:
    """(B * P, C, side, side): maps (B, C, h, w) seen in regions (B, P, 4), bilinear; zero outside the view.

    All regions of an image are cut in one call, so that no map is copied for them.
    """
    (b, channels, h, w), p = maps.shape, regions.shape[1]
    places = (middles(regions.float(), side) - offset) / stride  # in locations of the map
    size = places.new_tensor([w, h])
    grid = (2 * places + 1) / size - 1
    seen = F.grid_sample(maps.float(), grid.reshape(b, p * side, side, 2), mode="bilinear", align_corners=False)
    return seen.reshape(b, channels, p, side, side).transpose(1, 2).reshape(b * p, channels, side, side)
