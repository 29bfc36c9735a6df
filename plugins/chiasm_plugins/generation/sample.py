"""From noise to a small picture: the flow followed in steps, guided towards what was asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from .unet import SMALL, Draft

LATE = 0.85  # from this time on the picture is settled and guidance only hardens it (Kynkaanniemi et al. 2024)
SLOPE = 1.5  # steps are shorter near the noise, where it is decided what will be seen


@dataclass(frozen=True)
class Brush:
    """How a picture is drawn; `on_step(done, steps)` is called behind every step."""

    steps: int
    guidance: float
    on_step: Callable[[int, int], None] | None = None


def times(steps: int) -> list[float]:
    """`steps` + 1 times from 0 to 1."""
    return [(k / steps) ** SLOPE for k in range(steps + 1)]


def sample(draft: Draft, what: Tensor, seed: torch.Generator, brush: Brush) -> Tensor:
    """(1, 3, 64, 64) in -1..1; `what` (2, E) is what was asked for, and nothing.

    The noise comes from the generator `seed` of the CPU, so that a seed means the same noise on every device. Each step
    goes on along the flow's velocity, corrected by how it changed since the last (Adams and Bashforth, second order).
    """
    noise = torch.randn(1, 3, SMALL, SMALL, generator=seed)
    x = noise.to(what.device)
    schedule = times(brush.steps)
    before: tuple[Tensor, float] | None = None
    for k, (now, then) in enumerate(pairwise(schedule)):
        guess = _guided(draft, x, now, what, brush.guidance)
        if k == brush.steps - 1:
            x = guess
        else:
            velocity, step = (guess - x) / (1 - now), then - now
            x = x + step * (velocity if before is None else _extrapolated(velocity, step, before))
            before = velocity, step
        if brush.on_step is not None:
            brush.on_step(k + 1, brush.steps)
    return x.clamp(-1, 1)


def _extrapolated(velocity: Tensor, step: float, before: tuple[Tensor, float]) -> Tensor:
    old, old_step = before
    return velocity + (velocity - old) * (step / (2 * old_step))


def _guided(draft: Draft, x: Tensor, now: float, what: Tensor, guidance: float) -> Tensor:
    """The picture that `x` may become, moved from what nothing asked for gives to what was asked for."""
    if guidance == 1 or now >= LATE:
        alone: Tensor = draft(x, x.new_full((1,), now), what[:1])
        return alone
    both = draft(x.expand(2, -1, -1, -1), x.new_full((2,), now), what)
    asked, free = both[:1], both[1:]
    guess: Tensor = free + guidance * (asked - free)
    return guess
