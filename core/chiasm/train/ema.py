"""An exponential moving average of the trained parameters: what a run saves. Buffers are not averaged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from chiasm_registry.errors import TrainingError, shown
from torch import Tensor, nn


class Ema:
    """Averages of a module's trainable floating-point parameters, on their device.

    The decay warms up as min(decay, (1 + step) / (10 + step)), so that the first weights are soon forgotten.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        kept = {n: p for n, p in module.named_parameters() if p.requires_grad and p.is_floating_point()}
        self.decay = decay
        # The parameters and not their data: a wrapper may give a parameter other memory.
        self._parameters: list[Tensor] = list(kept.values())
        self._averages = dict(zip(kept, (p.detach().clone() for p in self._parameters), strict=True))
        self._values = list(self._averages.values())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the averages towards the parameters as they are after `step` steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        if self._parameters:
            torch._foreach_lerp_(self._values, self._parameters, 1 - decay)

    def state(self) -> dict[str, Tensor]:
        """The averages by parameter name."""
        return self._averages

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take the averages of a checkpoint; TrainingError if they are of other parameters."""
        for name, average in self._averages.items():
            if name not in state or state[name].shape != average.shape:
                raise TrainingError(f"the checkpoint has no averaged weights for {shown(name)}")
            average.copy_(state[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While inside, the module's parameters hold the averages."""
        kept = [parameter.detach().clone() for parameter in self._parameters]
        try:
            self._fill(self._values)
            yield
        finally:
            self._fill(kept)

    @torch.no_grad()
    def _fill(self, values: list[Tensor]) -> None:
        if values:
            torch._foreach_copy_(self._parameters, values)
