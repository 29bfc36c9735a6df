"""The image as masks want to see it, made once an image from the core's maps and the pixels, coarse and fine.

Letters: B images, C channels; strides are in pixels of the view.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from chiasm_registry import CoreInfo
from torch import Tensor, nn

CHANNELS = 128
STRIDE = 8  # of the embedding
BLOCKS = 3


class Seen(NamedTuple):
    """One or more images; `view` is the side of the square view in pixels."""

    coarse: Tensor  # (B, C, view / 8, view / 8)
    fine4: Tensor  # (B, C / 4, view / 4, view / 4)
    fine2: Tensor  # (B, C / 8, view / 2, view / 2)
    view: int


class Block(nn.Module):
    """ConvNeXt's (Liu et al., A ConvNet for the 2020s, 2022), with a narrower middle."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dw = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.GroupNorm(1, channels)
        self.up, self.down = nn.Conv2d(channels, 2 * channels, 1), nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.down(F.gelu(self.up(self.norm(self.dw(x)))))
        return x + y


class Embedding(nn.Module):
    """Fits any core: every map is brought to `CHANNELS` and to the embedding's grid, and they are added up."""

    def __init__(self, core: CoreInfo) -> None:
        super().__init__()
        c = CHANNELS
        self.strides = tuple(info.stride for info in core.maps)
        self.lateral = nn.ModuleList(nn.Conv2d(info.channels, c, 1) for info in core.maps)
        self.finest = nn.Conv2d(core.maps[0].channels, c // 4, 1)
        self.stem2 = nn.Sequential(
            nn.Conv2d(3, c // 8, 3, stride=2, padding=1), nn.GELU(), nn.Conv2d(c // 8, c // 8, 3, padding=1)
        )
        self.stem4 = nn.Sequential(nn.GELU(), nn.Conv2d(c // 8, c // 4, 3, stride=2, padding=1))
        self.stem8 = nn.Sequential(nn.GELU(), nn.Conv2d(c // 4, c, 3, stride=2, padding=1))
        self.blocks = nn.Sequential(*(Block(c) for _ in range(BLOCKS)))
        self.norm = nn.GroupNorm(1, c)
        self.join4 = nn.Sequential(nn.GELU(), nn.Conv2d(c // 4, c // 4, 3, padding=1))

    def forward(self, maps: Sequence[Tensor], pixels: Tensor) -> Seen:
        """Maps (B, c, h, w) fine to coarse, pixels (B, 3, view, view) in 0..1; the view is of whole strides."""
        view = pixels.shape[-1]
        fine2 = self.stem2(pixels * 4 - 2)  # about unit variance
        fine4 = self.stem4(fine2)
        coarse = self.stem8(fine4)
        for lateral, level, stride in zip(self.lateral, maps, self.strides, strict=True):
            coarse = coarse + resampled(lateral(level), stride, STRIDE, view)
        fine4 = fine4 + resampled(self.finest(maps[0]), self.strides[0], 4, view)
        return Seen(self.norm(self.blocks(coarse)), fine4 + self.join4(fine4), fine2, view)


def resampled(level: Tensor, stride: int, wanted: int, view: int) -> Tensor:
    """A map at another stride: location k of each stands at the view's pixel k * stride, so no half cells are lost."""
    side = view // wanted
    if stride == wanted:
        return level
    places = torch.arange(side, device=level.device) * (wanted / stride)
    x = (2 * places + 1) / level.shape[-1] - 1
    y = (2 * places + 1) / level.shape[-2] - 1
    grid = torch.stack([x[None, :].expand(side, side), y[:, None].expand(side, side)], -1)
    grid = grid.expand(len(level), -1, -1, -1)
    # in full precision: a place in bfloat16 may be half a cell off
    found = F.grid_sample(level.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return found.to(level.dtype)
