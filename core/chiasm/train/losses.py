"""Sums of the named losses on the device: nothing is read back before the log asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

Saved = list[tuple[list[str], list[float], int]]  # names, their sums, over how many steps


class LossSums:
    """Running sums of named scalars; a name that is absent in a step counts only the steps that had it."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, ...], tuple[Tensor, int]] = {}

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Add one step's scalars: one kernel to stack them, one to add."""
        names = tuple(losses)
        values = torch.stack([value.detach().float().reshape(()) for value in losses.values()])
        before = self._sums.get(names)
        self._sums[names] = (values, 1) if before is None else (before[0] + values, before[1] + 1)

    def saved(self) -> Saved:
        """The sums as plain values, exact in JSON."""
        return [(list(names), sums.tolist(), count) for names, (sums, count) in self._sums.items()]

    def restore(self, saved: Saved, device: torch.device) -> None:
        """Go on from `saved()`."""
        self._sums = {tuple(n): (torch.tensor(s, device=device, dtype=torch.float32), c) for n, s, c in saved}

    def clear(self) -> None:
        self._sums = {}


def means(saved: Iterable[tuple[list[str], list[float], int]]) -> dict[str, float]:
    """The mean of each name over the steps that had it; several processes' sums may be chained. `loss` comes first."""
    totals: dict[str, tuple[float, int]] = {}
    for names, sums, count in saved:
        for name, value in zip(names, sums, strict=True):
            total, steps = totals.get(name, (0.0, 0))
            totals[name] = (total + value, steps + count)
    return {name: totals[name][0] / totals[name][1] for name in sorted(totals, key=lambda n: (n != "loss", n))}
