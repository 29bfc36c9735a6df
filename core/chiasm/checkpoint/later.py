"""A tensor that is still on the disk: its shape and type are known, its numbers are read when somebody wants them.

Small files are read into memory of their own, so that one that is cut or rewritten afterwards changes nothing. Large
ones are mapped: a weight that stays as it is stored takes no memory twice and no time to copy, and one that is
converted gives its pages back.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from chiasm_registry.errors import CheckpointError, shown

from .mapping import Span, mapped_together
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


@dataclass(frozen=True, eq=False, kw_only=True)
class Stored(Later):
    """A tensor in a file, of which rows can be read by themselves, one slice of them after the other."""

    rows: Callable[[Sequence[slice]], Later]


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

    def later(self, entry: Entry, header: int) -> Stored:
        """The tensor of `entry`, behind a header of `header` bytes."""
        import torch

        dtype: torch.dtype = getattr(torch, entry.dtype)
        first, row = header + entry.start, math.prod(entry.shape[1:]) * entry.itemsize

        def rows(wanted: Sequence[slice]) -> Later:
            spans = [(first + some.start * row, (some.stop - some.start) * row) for some in wanted]
            shape = (sum(some.stop - some.start for some in wanted), *entry.shape[1:])
            read = partial(self._tensor, entry.name, dtype, shape, spans)
            return Later(shape, dtype, read, partial(self._forget, spans))

        whole = [(first, entry.end - entry.start)]
        read = partial(self._tensor, entry.name, dtype, entry.shape, whole)
        return Stored(entry.shape, dtype, read, partial(self._forget, whole), rows=rows)

    def _tensor(self, name: str, dtype: torch.dtype, shape: tuple[int, ...], spans: Sequence[Span]) -> Tensor:
        import torch

        if (found := self._mapped(dtype.itemsize, spans)) is not None:
            tensor = torch.frombuffer(found[0], dtype=dtype, count=math.prod(shape), offset=found[1]).reshape(shape)
        else:
            tensor = torch.empty(shape, dtype=dtype)
            numbers: Any = tensor.reshape(-1).view(torch.uint8).numpy()
            room = memoryview(numbers)
            for start, length in spans:
                self.fill(room[:length], start)
                room = room[length:]
        if fault := fault_of(tensor):
            raise CheckpointError(f"{self.name}: '{shown(name)}' holds {fault}")
        return tensor

    def _mapped(self, itemsize: int, spans: Sequence[Span]) -> tuple[mmap.mmap, int] | None:
        """Memory with these bytes, and where in it they begin; None when they have to be copied."""
        if self.map is None or spans[0][0] % itemsize:
            return None
        if os.fstat(self.descriptor).st_size != len(self.map):
            raise CheckpointError(f"{self.name} changed while it was read; somebody is writing to it")
        return (self.map, spans[0][0]) if len(spans) == 1 else mapped_together(self.descriptor, spans)

    def _forget(self, spans: Sequence[Span]) -> None:
        """Give the mapped pages that lie wholly in one stretch back to the system."""
        if self.map is None or len(spans) > 1 or not hasattr(mmap, "MADV_DONTNEED"):
            return  # memory of its own goes with its tensor
        page, (start, length) = mmap.PAGESIZE, spans[0]
        first, last = -(-start // page) * page, (start + length) // page * page
        if last > first:
            self.map.madvise(mmap.MADV_DONTNEED, first, last - first)
