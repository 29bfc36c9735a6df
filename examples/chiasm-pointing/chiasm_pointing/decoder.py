"""A heat map for each phrase, whose peaks are the points (after Zhou et al., Objects as Points, 2019)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from chiasm_registry import CoreInfo, Point, Points, Route, Scene, ScoredPoint
from torch import Tensor, nn

WIDTH, KINDS, LEVELS = 96, 96, 4
PARTS = ("dw.weight", "dw.bias", "pw.weight", "pw.bias")
NAMES = Path(__file__).with_name("coco.txt").read_text("utf-8").splitlines()  # what the published head knows, in order


def separable() -> list[nn.Module]:
    """A 5x5 depthwise and a 1x1 convolution, as NanoDet-Plus's head has them."""
    depthwise, pointwise = nn.Conv2d(WIDTH, WIDTH, 5, padding=2, groups=WIDTH), nn.Conv2d(WIDTH, WIDTH, 1)
    return [depthwise, nn.LeakyReLU(0.1), pointwise, nn.LeakyReLU(0.1)]


class PointDecoder(nn.Module):
    """The slots mix what to look for from kinds of things; how alike each place is to that, level by level, is a stack
    of maps from which a small net makes one with a peak in each thing."""

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
        self.peaks = nn.Sequential(
            nn.Conv2d(5 * n, 16, 3, padding=1), nn.GELU(), nn.Conv2d(16, 16, 3, padding=2, dilation=2), nn.GELU(),
            nn.Conv2d(16, 1, 3, padding=1),
        )
        nn.init.constant_(self.peaks[-1].bias, -4.0)

    def heat(self, maps: Sequence[Tensor], kinds: Sequence[Tensor]) -> Tensor:
        """(R, h, w) logits on the finest grid from maps (B, C, h, w) and what each image is asked (routes, KINDS)."""
        levels = [self.towers[k](self.narrow[k](one)) for k, one in enumerate(maps[-LEVELS:])]
        grid = levels[0].shape[-2:]
        hints = torch.cat([_resized(hint(level), grid) for hint, level in zip(self.hints, levels, strict=True)], 1)
        stacks = []
        for image, asked in enumerate(kinds):
            wanted = torch.einsum("rk,kln->lrn", asked.softmax(-1), self.kinds)  # (levels, routes, WIDTH + 1)
            alike = [
                _resized(torch.einsum("rn,nhw->rhw", one[:, :-1], seen[image])[:, None], grid) + one[:, -1:, None, None]
                for one, seen in zip(wanted, levels, strict=True)
            ]
            stacks.append(torch.cat([*alike, hints[image].expand(len(asked), -1, -1, -1)], 1))
        return self.peaks(torch.cat(stacks))[:, 0]

    @torch.no_grad()
    def decode(self, scene: Scene, routes: Sequence[Route]) -> Sequence[Points]:
        if not routes:
            return []
        heat = self.heat([m[None] for m in scene.maps], [self.ask(torch.stack([route.slots for route in routes]))])
        heat = heat.float().sigmoid()
        peaks = heat * (heat == F.max_pool2d(heat[:, None], 3, 1, 1)[:, 0])
        return [_points(peak, scene.size_hw, route.options) for peak, route in zip(peaks, routes, strict=True)]

    def prepare(self, options: Mapping[str, Any], initial: Mapping[str, Tensor]) -> None:
        """Start from NanoDet-Plus's head, if `initial` is its file and the core has maps like it."""
        for k, tower in enumerate(self.towers if initial and len(self.maps) == LEVELS else ()):
            given = (initial[f"cls_convs.{k}.{at}.{part}"] for at in (0, 1) for part in PARTS)
            for own, one in zip(tower.parameters(), given, strict=True):
                own.data.copy_(one)
            self.kinds.data[:80, k, :-1] = initial[f"gfl_cls.{k}.weight"][:80].flatten(1)
            self.kinds.data[:80, k, -1] = initial[f"gfl_cls.{k}.bias"][:80]

    def loss(
        self, scenes: Sequence[Scene], routes: Sequence[Sequence[Route]], targets: Sequence[Sequence[Any]]
    ) -> Mapping[str, Tensor]:
        """The focal loss of peaks: cells near a middle are forgiven, those of crowds not looked at."""
        maps = [torch.stack(level) for level in zip(*(scene.maps for scene in scenes), strict=True)]
        kinds = [self.ask(torch.stack([route.slots for route in some])) for some in routes]
        heat = self.heat(maps, kinds).float()
        pairs = [(scenes[k].size_hw, target.things) for k, some in enumerate(targets) for target in some]
        near, middle, seen = (torch.stack(part) for part in zip(*(bumps(*p, heat) for p in pairs), strict=True))
        hit = -F.logsigmoid(heat) * heat.sigmoid().sub(1).square() * middle
        miss = -F.logsigmoid(-heat) * heat.sigmoid().square() * (1 - near).pow(4) * (1 - middle) * seen
        names = [target.name for some in targets for target in some]
        known = torch.tensor([NAMES.index(name) if name in NAMES else -1 for name in names], device=heat.device)
        naming = F.cross_entropy(torch.cat(kinds).float(), known, ignore_index=-1, reduction="sum")
        return {"peaks": (hit + miss).sum() / middle.sum().clamp(min=1), "naming": naming / len(known)}


def _points(peaks: Tensor, size_hw: tuple[int, int], options: Any) -> Points:
    """The surest peaks, in pixels of the original; cells stand at whole strides of the view."""
    (h, w), best = peaks.shape, peaks.flatten().topk(min(options.max_objects, peaks.numel()))
    found = [pair for pair in zip(*map(Tensor.tolist, best), strict=True) if pair[0] >= max(options.threshold, 1e-6)]
    spots = ((score, Point(xy=(at % w * size_hw[1] / w, at // w * size_hw[0] / h))) for score, at in found)
    return Points(items=tuple(ScoredPoint(point=point, score=score) for score, point in spots))


def bumps(size_hw: tuple[int, int], target: Sequence[Any], heat: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """On the grid of `heat` (R, h, w): a bump of the size of each thing, its middle's cell, and 0 inside crowds."""
    h, w = heat.shape[-2:]
    y, x = torch.arange(h, device=heat.device)[:, None], torch.arange(w, device=heat.device)[None]
    near, middle, seen = heat.new_zeros(h, w), heat.new_zeros(h, w), heat.new_ones(h, w)
    for (x0, y0, x1, y1), crowd in target:
        x0, x1, y0, y1 = x0 * w / size_hw[1], x1 * w / size_hw[1], y0 * h / size_hw[0], y1 * h / size_hw[0]
        if crowd:
            seen[(y >= y0) & (y <= y1) & (x >= x0) & (x <= x1)] = 0
            continue
        cx, cy, rx, ry = (x0 + x1) / 2, (y0 + y1) / 2, max(0.6, (x1 - x0) / 6), max(0.6, (y1 - y0) / 6)
        near = torch.maximum(near, torch.exp(-(((x - cx) / rx).square() + ((y - cy) / ry).square()) / 2))
        middle[min(h - 1, round(cy)), min(w - 1, round(cx))] = 1
    return near, middle, seen


def _resized(maps: Tensor, grid_hw: Sequence[int]) -> Tensor:
    """A coarser map on the grid; its first location stands on the grid's, as locations stand at whole strides."""
    whole, (h, w) = F.pad(maps, (0, 1, 0, 1), mode="replicate"), grid_hw
    return F.interpolate(whole, size=(h + 1, w + 1), mode="bilinear", align_corners=True)[..., :h, :w]
