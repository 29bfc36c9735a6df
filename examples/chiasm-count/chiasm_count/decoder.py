"""A map of how many things stand where, whose sum is the count; two more numbers say how far off that may be."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from chiasm_registry import CoreInfo, Route, Scene
from torch import Tensor, nn

from . import Count, Truth

WIDTH, KINDS, LEVELS, GRID = 96, 96, 4, 28
PARTS = ("dw.weight", "dw.bias", "pw.weight", "pw.bias")
LOW, HIGH = 0.1, 0.9  # quantiles of the interval
NAMES = Path(__file__).with_name("coco.txt").read_text("utf-8").splitlines()  # what the published head knows, in order


def separable() -> list[nn.Module]:
    """A 5x5 depthwise and a 1x1 convolution, as NanoDet-Plus's head has them."""
    depthwise, pointwise = nn.Conv2d(WIDTH, WIDTH, 5, padding=2, groups=WIDTH), nn.Conv2d(WIDTH, WIDTH, 1)
    return [depthwise, nn.LeakyReLU(0.1), pointwise, nn.LeakyReLU(0.1)]


class CountDecoder(nn.Module):
    """The slots mix what to look for from kinds of things; how alike each place is to that, level by level, is a stack
    of maps from which a small net makes a density."""

    def __init__(self, core: CoreInfo) -> None:
        super().__init__()
        self.maps = core.maps[-LEVELS:]
        n = len(self.maps)
        self.narrow = nn.ModuleList(
            nn.Identity() if one.channels == WIDTH else nn.Conv2d(one.channels, WIDTH, 1) for one in self.maps
        )
        self.towers = nn.ModuleList(nn.Sequential(*separable(), *separable()) for _ in self.maps)
        self.ask = nn.Sequential(
            nn.Flatten(), nn.LayerNorm(4 * core.width), nn.Linear(4 * core.width, 256), nn.GELU(), nn.Linear(256, KINDS)
        )
        self.kinds = nn.Parameter(torch.randn(KINDS, n, WIDTH + 1) * 0.1)
        self.hints = nn.ModuleList(nn.Conv2d(WIDTH, 4, 1) for _ in self.maps)  # of middles, whatever the thing
        self.dense = nn.Sequential(
            nn.Conv2d(6 * n, 24, 3, padding=1), nn.GELU(), nn.Conv2d(24, 24, 3, padding=1), nn.GELU(),
            nn.Conv2d(24, 1, 1),
        )
        self.doubt = nn.Sequential(nn.Linear(n + 1, 16), nn.GELU(), nn.Linear(16, 2))
        nn.init.constant_(self.dense[-1].bias, -5.0)

    def estimate(self, maps: Sequence[Tensor], kinds: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Density (R, GRID, GRID) and how far the count may be off below and above (R, 2); maps are (B, C, h, w)."""
        parts = zip(self.towers, self.narrow, maps[-LEVELS:], strict=True)
        levels = [tower(narrow(one)) for tower, narrow, one in parts]
        hints = torch.cat([_on_grid(hint(level)) for hint, level in zip(self.hints, levels, strict=True)], 1)
        stacks, peaks = [], []
        for image, asked in enumerate(kinds):
            wanted = torch.einsum("rk,kln->lrn", asked.softmax(-1), self.kinds)  # (levels, routes, WIDTH + 1)
            alike = [
                (torch.einsum("rn,nhw->rhw", one[:, :-1], level[image]) + one[:, -1, None, None])[:, None]
                for one, level in zip(wanted, levels, strict=True)
            ]
            grids = [_on_grid(one) for one in alike] + [_on_grid(one.sigmoid()) for one in alike]
            stacks.append(torch.cat([*grids, hints[image].expand(len(asked), -1, -1, -1)], 1))
            peaks.append(torch.cat([one.amax((2, 3)) for one in alike], 1))
        density = F.softplus(self.dense(torch.cat(stacks))[:, 0].float())
        total = density.sum((1, 2))
        doubt = self.doubt(torch.cat([torch.cat(peaks).detach(), total.detach().log1p()[:, None]], 1).to(maps[0].dtype))
        return density, F.softplus(doubt.float()) * (total.detach() + 0.3).sqrt()[:, None]

    @torch.no_grad()
    def decode(self, scene: Scene, routes: Sequence[Route]) -> Sequence[Count]:
        if not routes:
            return []
        kinds = self.ask(torch.stack([route.slots for route in routes]))
        density, doubt = self.estimate([m[None] for m in scene.maps], [kinds])
        return [_answer(one, *off) for one, off in zip(density.cpu(), doubt.tolist(), strict=True)]

    def prepare(self, options: Mapping[str, Any], initial: Mapping[str, Tensor]) -> None:
        """Start from NanoDet-Plus's head, if `initial` is its file and the core has maps like it."""
        for k, tower in enumerate(self.towers if initial and len(self.maps) == LEVELS else ()):
            given = (initial[f"cls_convs.{k}.{at}.{part}"] for at in (0, 1) for part in PARTS)
            for own, one in zip(tower.parameters(), given, strict=True):
                own.data.copy_(one)
            self.kinds.data[:80, k, :-1] = initial[f"gfl_cls.{k}.weight"][:80].flatten(1)
            self.kinds.data[:80, k, -1] = initial[f"gfl_cls.{k}.bias"][:80]

    def loss(
        self, scenes: Sequence[Scene], routes: Sequence[Sequence[Route]], targets: Sequence[Sequence[Truth]]
    ) -> Mapping[str, Tensor]:
        """Of the count, the map, the interval, and of which kind is meant; where a crowd stands only the last."""
        maps = [torch.stack(level) for level in zip(*(scene.maps for scene in scenes), strict=True)]
        kinds = [self.ask(torch.stack([route.slots for route in some])) for some in routes]
        density, doubt = self.estimate(maps, kinds)
        truths = [truth for some in targets for truth in some]
        names = [NAMES.index(truth.name) if truth.name in NAMES else -1 for truth in truths]
        known = torch.tensor(names, device=density.device)
        naming = F.cross_entropy(torch.cat(kinds).float(), known, ignore_index=-1, reduction="sum") / len(names)
        whole = torch.tensor([float(truth.whole) for truth in truths], device=density.device)
        number = density.new_tensor([float(len(truth.middles)) for truth in truths])
        total = density.sum((1, 2))
        off = F.smooth_l1_loss(total, number, reduction="none", beta=0.3) / (1 + number).sqrt()
        where = _coarse(torch.stack([_marks(truth.middles, density) for truth in truths]))
        map_ = F.poisson_nll_loss(_coarse(density) + 1e-4, where, log_input=False, reduction="none").sum((1, 2))
        error = number - total.detach()
        below, above = _pinball(error, -doubt[:, 0], LOW), _pinball(error, doubt[:, 1], HIGH)
        parts = {"count": off, "map": 0.2 * map_, "interval": 0.2 * (below + above)}
        losses = {name: (part * whole).sum() / whole.sum().clamp(min=1) for name, part in parts.items()}
        return {**losses, "naming": naming}


def _answer(density: Tensor, below: float, above: float) -> Count:
    total = float(density.sum())
    count, low, high = round(total), int(max(0.0, total - below)), -int(-(total + above) // 1)
    cells = tuple(tuple(round(cell, 3) for cell in row) for row in density.tolist())
    return Count(count=count, low=min(low, count), high=max(high, count), density=cells)


def _on_grid(maps: Tensor) -> Tensor:
    """(N, C, h, w) on the grid; of what is finer the strongest is kept."""
    if maps.shape[-1] > GRID:
        return F.adaptive_max_pool2d(maps, GRID)
    return F.interpolate(maps, size=(GRID, GRID), mode="bilinear", align_corners=False)


def _coarse(density: Tensor) -> Tensor:
    """Sums (R, GRID / 4, GRID / 4): where exactly a thing stands is not what is asked."""
    return F.avg_pool2d(density[:, None], 4)[:, 0] * 16


def _marks(middles: Sequence[tuple[float, float]], like: Tensor) -> Tensor:
    """(GRID, GRID): how many middles fall into each cell."""
    marks = like.new_zeros(GRID, GRID)
    for x, y in middles:
        marks[min(GRID - 1, max(0, int(y * GRID))), min(GRID - 1, max(0, int(x * GRID)))] += 1
    return marks


def _pinball(error: Tensor, quantile: Tensor, share: float) -> Tensor:
    return torch.maximum(share * (error - quantile), (share - 1) * (error - quantile))
