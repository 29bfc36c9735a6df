"""A tensor that is still on the disk: its shape and type are known, its numbers are read when somebody wants them.

Reading goes through the descriptor that was checked, straight into memory of its own: nothing is mapped, so a file that
is cut or rewritten meanwhile is a message and not a crash, and no number stands in memory twice.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chiasm_registry.errors import CheckpointError, shown

from .tensors import Entry, fault_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Later:
    """Stands where a `Tensor` may stand; `detach` gives the tensor, read anew each time."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]

    def detach(self) -> Tensor:
        """The tensor itself, on the CPU."""
        return self.read()

    def __getitem__(self, all_of_it: object) -> Tensor:
        """As transformers asks for a tensor that is on the disk: `later[...]`."""
        return self.read()

    def numel(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    def element_size(self) -> int:
        """Bytes of a number."""
        return self.dtype.itemsize

    def is_floating_point(self) -> bool:
        """Whether its numbers are floats."""
        return self.dtype.is_floating_point


class OpenFile:
    """A weight file that stays open until nobody needs it; `name` is how messages call it."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.descriptor, self.name = descriptor, name

    def __del__(self) -> None:
        os.close(self.descriptor)

    def fill(self, view: memoryview, offset: int) -> None:
        """Fill `view` with the bytes at `offset`."""
        filled = 0
        try:
            while filled < len(view) and (count := os.preadv(self.descriptor, [view[filled:]], offset + filled)):
                filled += count
        except OSError as error:
            raise CheckpointError(f"{self.name} cannot be read") from error
        if filled != len(view):
            raise CheckpointError(f"{self.name} shrank while it was read; somebody is writing to it")

    def later(self, entry: Entry, header: int) -> Later:
        """The tensor of `entry`, behind a header of `header` bytes."""
        import torch

        dtype: torch.dtype = getattr(torch, entry.dtype)
        return Later(entry.shape, dtype, lambda: self._tensor(entry, dtype, header + entry.start))

    def _tensor(self, entry: Entry, dtype: torch.dtype, offset: int) -> Tensor:
        import torch

        tensor = torch.empty(entry.shape, dtype=dtype)
        flat: Any = tensor.reshape(-1).view(torch.uint8).numpy()
        self.fill(memoryview(flat), offset)
        if fault := fault_of(tensor):
            raise CheckpointError(f"{self.name}: '{shown(entry.name)}' holds {fault}")
        return tensor
