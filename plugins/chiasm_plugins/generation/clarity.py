"""How clearly each thing of a training photograph can be seen, as a frozen detector judges it. In training only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from chiasm_registry import TrainingError
from torch import Tensor, nn

from .kinds import KINDS

STRIDES = (8, 16, 32, 64)
WIDTH = 96


class Tower(nn.Module):
    """Two separable convolutions of the head and its class scores, for one level."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            nn.ModuleDict({"dw": nn.Conv2d(WIDTH, WIDTH, 5, padding=2, groups=WIDTH), "pw": nn.Conv2d(WIDTH, WIDTH, 1)})
            for _ in range(2)
        )
        self.kinds = nn.Conv2d(WIDTH, len(KINDS), 1)

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            assert isinstance(step, nn.ModuleDict)
            x = F.leaky_relu(step["pw"](F.leaky_relu(step["dw"](x), 0.1)), 0.1)
        return torch.sigmoid(self.kinds(x).float())


class Clarity(nn.Module):
    """The class scores of NanoDet-Plus-m's head as published (keys `cls_convs.*`, `gfl_cls.*`), frozen."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        """Other names or shapes are a `TrainingError`."""
        super().__init__()
        self.towers = nn.ModuleList(Tower() for _ in STRIDES)
        try:
            self.load_state_dict({name: _published(weights, name) for name in self.state_dict()})
        except (KeyError, RuntimeError) as error:
            raise TrainingError("the initial weights hold no head of NanoDet-Plus-m; names or shapes differ") from error
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, maps: Sequence[Tensor], row: Tensor, boxes_xyxy: Tensor, kinds: Tensor) -> Tensor:
        """(n,) how surely a thing is what its box shows: its own kind's best score, less where another's is better.

        `maps` are the pyramid's levels (B, C, h, w); `row` (n,) the image of a box (n, 4) in pixels of the view.
        """
        own, best = (boxes_xyxy.new_zeros(len(row)) for _ in range(2))
        for tower, level, stride in zip(self.towers, maps, STRIDES, strict=True):
            scores = tower(level)  # (B, kinds, h, w)
            y = torch.arange(level.shape[-2], device=level.device) * float(stride)
            x = torch.arange(level.shape[-1], device=level.device) * float(stride)
            x0, y0, x1, y1 = boxes_xyxy[:, :, None].unbind(1)
            inside = ((y >= y0) & (y <= y1))[:, :, None] & ((x >= x0) & (x <= x1))[:, None, :]
            own = torch.maximum(own, (scores[row, kinds] * inside).amax((1, 2)))
            best = torch.maximum(best, (scores.amax(1)[row] * inside).amax((1, 2)))
        return own * own / best.clamp(min=1e-6)


def _published(weights: Mapping[str, Tensor], name: str) -> Tensor:
    """`towers.2.steps.0.dw.weight` is `cls_convs.2.0.dw.weight` there; kinds are the first rows of `gfl_cls.2`."""
    _, level, part, *rest = name.split(".")
    if part == "kinds":
        return weights[f"gfl_cls.{level}.{rest[0]}"][: len(KINDS)]
    return weights[".".join(["cls_convs", level, *rest])]
