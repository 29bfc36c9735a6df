"""A detection head over random maps, and what it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from chiasm_plugins.detection.decoder import SLOTS, DetectionDecoder
from chiasm_plugins.detection.task import DetectionOptions
from chiasm_registry import CoreInfo, MapInfo, Route, Scene
from torch import Tensor

WIDTH = 32
VIEW = 128
PYRAMID = CoreInfo(WIDTH, tuple(MapInfo(c, 4 * 2**k) for k, c in enumerate((24, 96, 96, 96, 96))), torch.float32)
GRID = CoreInfo(WIDTH, (MapInfo(40, 14),), torch.float32)


def head(core: CoreInfo = PYRAMID, seed: int = 0) -> DetectionDecoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DetectionDecoder(core).eval()


def maps(core: CoreInfo = PYRAMID, seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    side = VIEW if core is PYRAMID else 56
    return tuple(
        torch.randn(info.channels, side // info.stride, side // info.stride, generator=generator) for info in core.maps
    )


def scene(core: CoreInfo = PYRAMID, size_hw: tuple[int, int] = (VIEW, VIEW), seed: int = 0, **more: Any) -> Scene:
    return Scene(size_hw=size_hw, maps=maps(core, seed), view=lambda side: torch.zeros(3, side, side), **more)


def routes(count: int, seed: int = 1, **options: Any) -> list[Route]:
    generator = torch.Generator().manual_seed(seed)
    asked = DetectionOptions(**options)
    return [
        Route("detection", f"thing {k}", slots, torch.zeros_like(slots), options=asked)
        for k, slots in enumerate(torch.randn(count, SLOTS, WIDTH, generator=generator).unbind(0))
    ]


def plainly_greedy(boxes: Sequence[Sequence[float]], overlap: float) -> list[int]:
    """Which boxes stay, best first, by the rule as one would tell it."""
    kept: list[int] = []
    for k, box in enumerate(boxes):
        if all(plain_iou(box, boxes[other]) <= overlap for other in kept):
            kept.append(k)
    return kept


def plain_iou(a: Sequence[float], b: Sequence[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / union if union > 0 else 0.0
