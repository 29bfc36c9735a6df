"""PicoDet-S (Yu et al. 2021), batch norms folded: a small published detector that judges pictures. It is never trained.

Only class scores are read: how strongly a picture shows each name, wherever in it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from chiasm_registry.coco import COCO_NAMES
from torch import Tensor, nn

WIDTHS = (24, 96, 192, 384)
INNER = ((44, 48, 48), (48, 120, 96, 120, 96, 96, 96), (96, 192, 192))  # of each stage's units
PYRAMID = 96
LEVELS = 4
DISTANCES = 32  # outputs of a location behind its class scores: where the box's edges are
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # red, green, blue in 0..255


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """A convolution that keeps the grid (up to its stride)."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups)


class Excite(nn.Module):
    """Channels weighted by what the whole picture says (squeeze and excitation)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = conv(channels, channels // 4), conv(channels // 4, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class Halving(nn.Module):
    """The first unit of a stage: two branches at half the grid, then mixed."""

    def __init__(self, inputs: int, outputs: int, inner: int) -> None:
        super().__init__()
        half = outputs // 2
        self.a_dw, self.a_pw = conv(inputs, inputs, 3, 2, inputs), conv(inputs, half)
        self.b_pw1, self.b_dw = conv(inputs, inner), conv(inner, inner, 3, 2, inner)
        self.se, self.b_pw2 = Excite(inner), conv(inner, half)
        self.mix_dw, self.mix_pw = conv(outputs, outputs, 3, 1, outputs), conv(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        first = F.hardswish(self.a_pw(self.a_dw(x)))
        second = F.hardswish(self.b_pw2(self.se(self.b_dw(F.hardswish(self.b_pw1(x))))))
        return F.hardswish(self.mix_pw(F.hardswish(self.mix_dw(torch.cat([first, second], 1)))))


class Unit(nn.Module):
    """A unit that works on half of the channels, part of them ghosts of others, and interleaves both halves."""

    def __init__(self, outputs: int, inner: int) -> None:
        super().__init__()
        half = inner // 2
        self.pw1, self.dw = conv(outputs // 2, half), conv(half, half, 3, 1, half)
        self.se, self.pw2 = Excite(inner), conv(inner, outputs // 2)

    def forward(self, x: Tensor) -> Tensor:
        kept, worked = x.chunk(2, 1)
        worked = F.hardswish(self.pw1(worked))
        worked = F.hardswish(self.pw2(self.se(torch.cat([worked, self.dw(worked)], 1))))
        return torch.stack([kept, worked], 2).flatten(1, 2)


class Separable(nn.Module):
    """A 5x5 depthwise convolution and a 1x1, each with its activation."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.dw, self.pw = conv(channels, channels, 5, stride, channels), conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.hardswish(self.pw(F.hardswish(self.dw(x))))


class Joint(nn.Module):
    """Two maps joined, half of the channels past the work."""

    def __init__(self) -> None:
        super().__init__()
        half = PYRAMID // 2
        self.short, self.main = conv(2 * PYRAMID, half), conv(2 * PYRAMID, half)
        self.conv1, self.conv2, self.final = conv(half, half), Separable(half), conv(PYRAMID, PYRAMID)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        x = torch.cat([one, other], 1)
        worked = self.conv2(F.hardswish(self.conv1(F.hardswish(self.main(x)))))
        return F.hardswish(self.final(torch.cat([worked, F.hardswish(self.short(x))], 1)))


class PicoDet(nn.Module):
    """(B, 3, S, S) RGB in 0..1 to (B, 80): the best score of each name over all places."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, WIDTHS[0], 3, 2)
        for number, (inputs, outputs, inner) in enumerate(zip(WIDTHS, WIDTHS[1:], INNER, strict=False), start=2):
            units = [Halving(inputs, outputs, inner[0]), *(Unit(outputs, one) for one in inner[1:])]
            self.add_module(f"stage{number}", nn.Sequential(*units))
        self.reduce = nn.ModuleList(conv(channels, PYRAMID) for channels in WIDTHS[1:])
        self.top_down, self.bottom_up = (nn.ModuleList(Joint() for _ in range(2)) for _ in range(2))
        self.down = nn.ModuleList(Separable(PYRAMID, 2) for _ in range(2))
        self.extra_in, self.extra_out = Separable(PYRAMID, 2), Separable(PYRAMID, 2)
        self.head = nn.ModuleList(nn.Sequential(Separable(PYRAMID), Separable(PYRAMID)) for _ in range(LEVELS))
        self.out = nn.ModuleList(conv(PYRAMID, len(COCO_NAMES) + DISTANCES) for _ in range(LEVELS))

    def forward(self, pictures: Tensor) -> Tensor:
        mean, std = (pictures.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
        levels = self._pyramid((pictures * 255 - mean) / std)
        logits = [out(head(x)) for out, head, x in zip(self.out, self.head, levels, strict=True)]
        return torch.stack([found[:, : len(COCO_NAMES)].amax((2, 3)) for found in logits]).amax(0).sigmoid()

    def _pyramid(self, x: Tensor) -> tuple[Tensor, ...]:
        x = F.max_pool2d(F.hardswish(self.stem(x)), 3, 2, 1)
        maps = []
        for number, reduce in enumerate(self.reduce, start=2):
            x = self.get_submodule(f"stage{number}")(x)
            maps.append(F.hardswish(reduce(x)))
        fine, middle, coarse = maps
        middle = self.top_down[0](_larger(coarse, middle), middle)
        first = self.top_down[1](_larger(middle, fine), fine)
        second = self.bottom_up[0](self.down[0](first), middle)
        third = self.bottom_up[1](self.down[1](second), coarse)
        return first, second, third, self.extra_in(coarse) + self.extra_out(third)


def _larger(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="nearest")
