"""A tensor that is still on the disk: its shape and type are known, its numbers are read when somebody wants them.

Small files are read into memory of their own, so that one that is cut or rewritten afterwards changes nothing. Large
ones are mapped: a weight that stays as it is stored takes no memory twice and no time to copy, and one that is
converted gives its pages back.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chiasm_registry.errors import CheckpointError, shown

from .tensors import Entry, fault_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def _nothing() -> None:
    """There is nothing to give back."""


@dataclass(frozen=True, eq=False)
class Later:
    """Stands where a `Tensor` may stand; `detach` gives the tensor, read anew each time.

    `forget` says that what was read has been copied, and its source is not needed now.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]
    forget: Callable[[], None] = _nothing

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

    def __init__(self, descriptor: int, name: str, *, mapped: bool) -> None:
        self.descriptor, self.name = descriptor, name
        size = os.fstat(descriptor).st_size
        self.map = mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY) if mapped and size else None

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
        start, end = header + entry.start, header + entry.end
        return Later(entry.shape, dtype, lambda: self._tensor(entry, dtype, start), lambda: self._forget(start, end))

    def _tensor(self, entry: Entry, dtype: torch.dtype, offset: int) -> Tensor:
        import torch

        if self.map is not None and offset % entry.itemsize == 0:
            if os.fstat(self.descriptor).st_size != len(self.map):
                raise CheckpointError(f"{self.name} changed while it was read; somebody is writing to it")
            flat = torch.frombuffer(self.map, dtype=dtype, count=math.prod(entry.shape), offset=offset)
            tensor = flat.reshape(entry.shape)
        else:
            tensor = torch.empty(entry.shape, dtype=dtype)
            numbers: Any = tensor.reshape(-1).view(torch.uint8).numpy()
            self.fill(memoryview(numbers), offset)
        if fault := fault_of(tensor):
            raise CheckpointError(f"{self.name}: '{shown(entry.name)}' holds {fault}")
        return tensor

    def _forget(self, start: int, end: int) -> None:
        """Give the mapped pages that lie wholly in between back to the system."""
        page = mmap.PAGESIZE
        first, last = -(-start // page) * page, end // page * page
        if self.map is not None and last > first and hasattr(mmap, "MADV_DONTNEED"):
            self.map.madvise(mmap.MADV_DONTNEED, first, last - first)
