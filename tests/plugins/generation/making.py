"""A picture decoder of random weights, and what it is asked."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from chiasm_plugins.generation.decoder import SLOTS, GenerationDecoder
from chiasm_plugins.generation.task import GenerationOptions
from chiasm_registry import CoreInfo, Route, Scene
from torch import Tensor

WIDTH = 32
CORE = CoreInfo(WIDTH, (), torch.float32)


def fresh(seed: int = 0) -> GenerationDecoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder = GenerationDecoder(CORE).eval()
        torch.nn.init.normal_(decoder.draft.edge.weight, std=0.3)  # it starts at zero, where nothing makes a difference
        return decoder


@cache
def artist() -> GenerationDecoder:
    return fresh()


def blind() -> Scene:
    return Scene(size_hw=(1, 1), maps=(), view=lambda side: torch.zeros(3, side, side))


def route(phrase: str = "dog", slots: Tensor | None = None, **options: Any) -> Route:
    if slots is None:
        slots = torch.randn(SLOTS, WIDTH, generator=torch.Generator().manual_seed(1))
    return Route("generation", phrase, slots, torch.zeros_like(slots), options=GenerationOptions(**options))
