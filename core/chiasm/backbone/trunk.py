"""A small convolutional trunk with a feature pyramid: what stands in nano where a plain InternViT cuts patches.

ShuffleNetV2 (Ma et al. 2018) and the Ghost path-aggregation pyramid of NanoDet-Plus (RangiLyu 2021), both with their
batch norms folded into the convolutions, so that published folded weights can be taken as initial ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = 4  # of the pyramid
TAGS = 128  # kinds of things that are told apart
SLOPE = 0.1  # of the leaky rectifier, everywhere in this trunk


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the grid (up to its stride)."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)


def act(x: Tensor) -> Tensor:
    """The trunk's activation."""
    return F.leaky_relu(x, SLOPE)


def resize_like(x: Tensor, like: Tensor) -> Tensor:
    """`x` bilinearly on the grid of `like`."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


class Separable(nn.Module):
    """A 5x5 depthwise convolution and a 1x1, each with its activation."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.dw = conv(channels, channels, 5, stride, channels)
        self.pw = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return act(self.pw(act(self.dw(x))))


class ShuffleUnit(nn.Module):
    """A unit of ShuffleNetV2: half of the channels pass, half are worked on, then both are interleaved."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.branch1: nn.ModuleDict | None = None
        if stride == 2:
            self.branch1 = nn.ModuleDict({"dw": conv(inputs, inputs, 3, 2, inputs), "pw": conv(inputs, half)})
        self.branch2 = nn.ModuleDict(
            {
                "pw1": conv(inputs if stride == 2 else half, half),
                "dw": conv(half, half, 3, stride, half),
                "pw2": conv(half, half),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.branch1 is None:
            kept, worked = x.chunk(2, 1)
        else:
            kept, worked = act(self.branch1["pw"](self.branch1["dw"](x))), x
        worked = self.branch2["dw"](act(self.branch2["pw1"](worked)))
        both = torch.stack([kept, act(self.branch2["pw2"](worked))], 2)  # (B, C/2, 2, h, w)
        return both.flatten(1, 2)


class GhostBlock(nn.Module):
    """The Ghost bottleneck of the pyramid: cheap depthwise features beside computed ones, and a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.g1_primary, self.g1_cheap = conv(inputs, half), conv(half, half, 3, 1, half)
        self.g2_primary, self.g2_cheap = conv(outputs, half), conv(half, half, 3, 1, half)
        self.short_dw, self.short_pw = conv(inputs, inputs, 5, 1, inputs), conv(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        first = act(self.g1_primary(x))
        first = torch.cat([first, act(self.g1_cheap(first))], 1)
        second = self.g2_primary(first)
        second = torch.cat([second, self.g2_cheap(second)], 1)
        shortcut: Tensor = self.short_pw(self.short_dw(x))
        return second + shortcut


class Trunk(nn.Module):
    """(B, 3, S, S) to maps at strides 4, 8, 16, 32, 64: the stem's own, then four of the pyramid."""

    def __init__(
        self, widths: tuple[int, ...] = (24, 116, 232, 464), units: tuple[int, ...] = (4, 8, 4), pyramid: int = 96
    ) -> None:
        super().__init__()
        self.channels = (widths[0], pyramid, pyramid, pyramid, pyramid)
        self.stem = conv(3, widths[0], 3, 2)
        self.stages = nn.ModuleList(
            nn.Sequential(*[ShuffleUnit(i if k == 0 else o, o, 2 if k == 0 else 1) for k in range(count)])
            for i, o, count in zip(widths, widths[1:], units, strict=False)
        )
        self.reduce = nn.ModuleList([conv(c, pyramid) for c in widths[1:]])
        self.top_down = nn.ModuleList([GhostBlock(2 * pyramid, pyramid) for _ in range(2)])
        self.down = nn.ModuleList([Separable(pyramid, 2) for _ in range(2)])
        self.bottom_up = nn.ModuleList([GhostBlock(2 * pyramid, pyramid) for _ in range(2)])
        self.extra_in, self.extra_out = Separable(pyramid, 2), Separable(pyramid, 2)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        c2 = F.max_pool2d(act(self.stem(pixels)), 3, 2, 1)
        c3 = self.stages[0](c2)
        c4 = self.stages[1](c3)
        c5 = self.stages[2](c4)
        r3, r4, r5 = (act(reduce(c)) for reduce, c in zip(self.reduce, (c3, c4, c5), strict=True))
        t4 = self.top_down[0](torch.cat([resize_like(r5, r4), r4], 1))
        p3 = self.top_down[1](torch.cat([resize_like(t4, r3), r3], 1))
        p4 = self.bottom_up[0](torch.cat([self.down[0](p3), t4], 1))
        p5 = self.bottom_up[1](torch.cat([self.down[1](p4), r5], 1))
        return c2, p3, p4, p5, self.extra_in(r5) + self.extra_out(p5)


class Tags(nn.Module):
    """What is recognised where, handed to the language model as words.

    Oscar (Li et al. 2020) gives a language model the names of detected objects beside their regions. Here every level
    of the pyramid judges `TAGS` kinds of things at each place, the strongest judgement of a cell counts, and each kind
    adds its vector, which may start as the embedding of its name, to the cell's image token.
    """

    def __init__(self, channels: int, levels: int, width: int) -> None:
        super().__init__()
        self.kinds = nn.ModuleList([conv(channels, TAGS) for _ in range(levels)])
        self.words = nn.Linear(TAGS, width, bias=False)
        with torch.no_grad():
            self.words.weight.mul_(0.1)
            for kind in cast("Sequence[nn.Conv2d]", self.kinds):
                kind.weight.mul_(0.1)
                assert kind.bias is not None
                kind.bias.fill_(-5.0)  # a cell is rarely of a kind

    def forward(self, features: Sequence[Tensor], side: int) -> Tensor:
        """Levels (B, C, h, w) to (B, side^2, width), row by row."""
        logits = [_pooled(kind(level), side) for kind, level in zip(self.kinds, features, strict=True)]
        seen = torch.stack(logits).amax(0).sigmoid()  # (B, TAGS, side, side)
        said: Tensor = self.words(seen.flatten(2).transpose(1, 2))
        return said


def _pooled(x: Tensor, side: int) -> Tensor:
    """`x` on a grid of `side`: the strongest of a cell where `x` is finer, the nearest where it is coarser."""
    if min(x.shape[-2:]) >= side:
        return F.adaptive_max_pool2d(x, side)
    return F.interpolate(x, size=(side, side), mode="nearest")


class TrunkPatches(nn.Module):
    """The trunk in place of InternViT's patch embedding: (B, 3, S, S) to (B, (S/16)^2, width) patches.

    Every pyramid level passes two separable convolutions and a projection and is brought to the stride-16 grid: finer
    levels by their strongest response, so that a small thing is not averaged away. The same features give the `Tags`,
    which go past the transformer, straight to the image tokens (`spoken` wide).
    """

    grid_stride = 16

    def __init__(self, width: int, spoken: int) -> None:
        super().__init__()
        self.trunk = Trunk()
        channels = self.trunk.channels[1]
        self.towers = nn.ModuleList([nn.Sequential(Separable(channels), Separable(channels)) for _ in range(LEVELS)])
        self.project = nn.ModuleList([conv(channels, width) for _ in range(LEVELS)])
        self.tags = Tags(channels, LEVELS, spoken)

    def features(self, maps: tuple[Tensor, ...]) -> list[Tensor]:
        """The trunk's maps to the pyramid's levels as the towers see them, (B, C, h, w) each."""
        return [tower(level) for tower, level in zip(self.towers, maps[1:], strict=True)]

    def patches(self, features: Sequence[Tensor]) -> Tensor:
        """Features to (B, patches, width)."""
        fine, grid, *coarse = (project(level) for project, level in zip(self.project, features, strict=True))
        total: Tensor = grid + F.max_pool2d(fine, 2) + sum(resize_like(level, grid) for level in coarse)
        return total.flatten(2).transpose(1, 2)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.patches(self.features(self.trunk(pixels)))
