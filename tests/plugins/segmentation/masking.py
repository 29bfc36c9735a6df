"""Small things that the tests of segmentation share: a core's shape, scenes, routes, discs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from chiasm_plugins.segmentation.task import SegmentationOptions
from chiasm_registry import CoreInfo, MapInfo, Route, Sample, SampleObject, Scene

torch.set_num_threads(1)

CORE = CoreInfo(width=16, maps=(MapInfo(8, 4), MapInfo(12, 8), MapInfo(12, 16)), dtype=torch.float32)
VIEW = 64


def scene(size_hw: tuple[int, int] = (VIEW, VIEW), seed: int = 0) -> Scene:
    """A scene of noise; its view counts how often it is asked for pixels."""
    generator = torch.Generator().manual_seed(seed)
    maps = tuple(
        torch.randn(info.channels, VIEW // info.stride, VIEW // info.stride, generator=generator) for info in CORE.maps
    )
    picture = torch.rand(3, VIEW, VIEW, generator=generator)

    def view(size: int) -> torch.Tensor:
        calls.append(size)
        return torch.nn.functional.interpolate(picture[None], (size, size), mode="bilinear")[0]

    calls: list[int] = []
    made = Scene(size_hw=size_hw, maps=maps, view=view)
    made.memo["calls"] = calls
    return made


def route(phrase: str = "dog", seed: int = 0, threshold: float = 0.0, **more: Any) -> Route:
    generator = torch.Generator().manual_seed(seed)
    options = SegmentationOptions(threshold=threshold, **more.pop("options", {}))
    slots = torch.randn(4, CORE.width, generator=generator)
    return Route(task="segmentation", phrase=phrase, slots=slots, embeddings=slots, options=options, **more)


def disc(x: float, y: float, radius: float, size: int = VIEW) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size] + 0.5
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


def sample(masks: list[np.ndarray | None], matches: tuple[tuple[int, ...], ...], boxes: Any = None) -> Sample:
    """Objects with these masks, and phrases that mean them."""
    own = boxes or [(8.0, 8.0, 40.0, 40.0) if mask is None else box_of(mask) for mask in masks]
    objects = tuple(SampleObject("dog", box) for box in own)
    phrases = tuple(f"phrase {k}" for k in range(len(matches)))
    return Sample("1", (VIEW, VIEW), objects, phrases, matches, draw=lambda k: masks[k])


def box_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
