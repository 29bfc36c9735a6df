"""The network that draws: a U-Net on diffusers' blocks for a small picture, and the one that enlarges it.

Pictures are RGB in -1..1. Time runs from 0 (noise) to 1 (picture), as in flow matching.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

SMALL = 64  # pixels a side of what the U-Net draws
LARGE = 128  # of what comes out
PATCH = 2  # pixels a side that share a cell of the finest grid (Hoogeboom et al., simple diffusion, 2023)
WIDTHS = (64, 128, 160)  # channels at the grids of 32, 16 and 8 cells
BLOCKS = (2, 2, 1)  # on the way down, and again on the way up
EMBEDDED = 160  # size of the vector that says when, and what
DEVIATION = 0.5  # of a picture's values
GROUPS = 16
EDGE = 8  # channels of full size before the last convolution
FINE = 44  # channels of the enlarger


def noised(clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
    """The point at `time` (B,) on the straight way from the noise to the picture (Lipman et al. 2023)."""
    t = time.view(-1, 1, 1, 1)
    return t * clean + (1 - t) * noise


def share_out(time: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each time how much of the noisy picture is kept, of the network's answer is added, its input is scaled.

    So that the network sees and answers values of one size at all times (Karras et al. 2022).
    """
    t = time.view(-1, 1, 1, 1)
    total = (t * DEVIATION) ** 2 + (1 - t) ** 2
    return t * DEVIATION**2 / total, (1 - t) * DEVIATION / total.sqrt(), total.rsqrt()


class Block(nn.Module):
    """A residual block that is told when and what; at a coarse grid it looks around by attention too."""

    def __init__(self, width: int, *, attend: bool) -> None:
        super().__init__()
        self.conv = ResnetBlock2D(
            in_channels=width, temb_channels=EMBEDDED, groups=GROUPS, time_embedding_norm="scale_shift"
        )
        self.look = (
            Attention(
                width,
                heads=width // 32,
                dim_head=32,
                norm_num_groups=GROUPS,
                residual_connection=True,
                bias=True,
            )
            if attend
            else None
        )

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        x = self.conv(x, told)
        return x if self.look is None else self.look(x)


class Draft(nn.Module):
    """The U-Net. Skips are added and not concatenated, which halves what the way up costs."""

    def __init__(self) -> None:
        super().__init__()
        self.when = nn.Sequential(nn.Linear(64, EMBEDDED), nn.SiLU(), nn.Linear(EMBEDDED, EMBEDDED))
        self.enter = nn.Conv2d(3 * PATCH**2, WIDTHS[0], 3, padding=1)
        self.down = nn.ModuleList(_blocks(level) for level in range(len(WIDTHS)))
        self.up = nn.ModuleList(_blocks(level) for level in range(len(WIDTHS)))
        pairs = list(pairwise(WIDTHS))
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.grow = nn.ModuleList(nn.Conv2d(b, a, 3, padding=1) for a, b in pairs)
        self.norm = nn.GroupNorm(GROUPS, WIDTHS[0])
        self.leave = nn.Conv2d(WIDTHS[0], EDGE * PATCH**2, 3, padding=1)
        self.edge = nn.Conv2d(EDGE, 3, 3, padding=1)
        nn.init.zeros_(self.edge.weight)
        nn.init.zeros_(cast(Tensor, self.edge.bias))

    def forward(self, noisy: Tensor, time: Tensor, what: Tensor) -> Tensor:
        """(B, 3, 64, 64) at `time` (B,), and what it shows (B, EMBEDDED), to the clean picture it may have been.

        Pictures and times are float32 whatever the weights have: steps add up.
        """
        keep, add, scale = share_out(time)
        told = self.when(_waves(time).to(what.dtype)) + what
        x = self.enter(F.pixel_unshuffle(noisy * scale, PATCH).to(self.enter.weight.dtype))
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.down):
            x = self.shrink[level - 1](x) if level else x
            x = _through(blocks, x, told)
            skips.append(x)
        for level in reversed(range(len(WIDTHS))):
            if level < len(WIDTHS) - 1:
                x = self.grow[level](F.interpolate(x, scale_factor=2.0, mode="nearest")) + skips[level]
            x = _through(self.up[level], x, told)
        x = F.pixel_shuffle(self.leave(F.silu(self.norm(x))), PATCH)
        clean: Tensor = keep * noisy + add * self.edge(F.silu(x)).float()
        return clean


class Enlarger(nn.Module):
    """(B, 3, 64, 64) as the U-Net leaves it to (B, 3, 128, 128): finer, and without grain."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(3, FINE, 3, padding=1)
        self.body = nn.ModuleList(
            nn.Sequential(nn.Conv2d(FINE, FINE, 3, padding=1), nn.SiLU(), nn.Conv2d(FINE, FINE, 3, padding=1))
            for _ in range(4)
        )
        self.leave = nn.Conv2d(FINE, 12, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(cast(Tensor, self.leave.bias))

    def forward(self, small: Tensor) -> Tensor:
        x = self.enter(small)
        for block in self.body:
            x = x + block(x)
        smooth = F.interpolate(small, scale_factor=2.0, mode="bilinear", align_corners=False)
        return smooth + F.pixel_shuffle(self.leave(F.silu(x)), 2)


def _blocks(level: int) -> nn.ModuleList:
    return nn.ModuleList(Block(WIDTHS[level], attend=level > 0 and k == 0) for k in range(BLOCKS[level]))


def _through(blocks: Any, x: Tensor, told: Tensor) -> Tensor:
    for block in cast(Sequence[Block], blocks):
        x = block(x, told)
    return x


def _waves(time: Tensor) -> Tensor:
    """(B, 64): sines and cosines of the time at 32 frequencies."""
    frequencies = torch.exp(torch.linspace(0.0, 7.0, 32, device=time.device))
    angles = time.float()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)
