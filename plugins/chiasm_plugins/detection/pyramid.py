"""Feature maps of any core to four levels of one width, ready for a head."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from chiasm_registry import CoreInfo, MapInfo
from torch import Tensor, nn

WIDTH = 96
LEVELS = 4
FINEST = 8  # stride of the finest map that is used; a location of a finer one costs more than it finds


def leaky(x: Tensor) -> Tensor:
    """The head's activation."""
    return F.leaky_relu(x, 0.1)


class Separable(nn.Module):
    """A 5x5 depthwise convolution and a 1x1, each with its activation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dw = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.pw = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return leaky(self.pw(leaky(self.dw(x))))


class Levels(nn.Module):
    """(B, C, h, w) maps, fine to coarse, to `LEVELS` maps of `WIDTH` channels; `strides` are theirs.

    A core with a pyramid hands its maps over as they are (a 1x1 convolution where the width differs). From the one
    grid of a plain transformer a pyramid is made by resampling it (Li et al., ViTDet, 2022).
    """

    def __init__(self, core: CoreInfo) -> None:
        super().__init__()
        self.use = [k for k, info in enumerate(core.maps) if info.stride >= FINEST][-LEVELS:]
        infos = [core.maps[k] for k in self.use]
        self.one_grid = len(infos) < LEVELS
        if self.one_grid:
            grid = core.maps[-1]
            infos = [
                MapInfo(grid.channels, stride)
                for stride in (grid.stride // 2, grid.stride, 2 * grid.stride, 4 * grid.stride)
            ]
            self.use = [len(core.maps) - 1]
        self.strides = tuple(info.stride for info in infos)
        self.lateral = nn.ModuleList(
            nn.Identity() if info.channels == WIDTH else nn.Conv2d(info.channels, WIDTH, 1) for info in infos
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        chosen = [maps[k] for k in self.use]
        if self.one_grid:
            grid = chosen[0]
            double = F.interpolate(grid, scale_factor=2, mode="bilinear", align_corners=False)
            chosen = [double, grid, F.max_pool2d(grid, 2, ceil_mode=True), F.max_pool2d(grid, 4, ceil_mode=True)]
        return [lateral(m) for lateral, m in zip(self.lateral, chosen, strict=True)]
