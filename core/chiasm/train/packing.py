"""A batch on its way from a worker: one buffer with the bytes of all its tensors, and a pickle that points into it.

Sent as they are, tensors cost a shared file and a descriptor each, and the targets of a batch hold thousands.
"""

from __future__ import annotations

import io
import pickle
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader

ALIGNED = 16  # bytes: any dtype may begin there
AHEAD = 2  # unpacked batches that wait for the step


class Packed(NamedTuple):
    """What travels: the buffer (shared memory) and the rest."""

    buffer: Tensor
    rest: bytes


def pack(value: Any) -> Packed:
    """`value` with its CPU tensors moved into one buffer."""
    file, parts = io.BytesIO(), _Parts()
    pickler = _Pickler(file, protocol=5)
    pickler.parts = parts
    pickler.dump(value)
    return Packed(parts.joined(), file.getvalue())


def unpack(packed: Packed) -> Any:
    """What `pack` was given; its tensors are views of the buffer, empty ones of a shape are one and the same."""
    unpickler = _Unpickler(io.BytesIO(packed.rest))
    unpickler.buffer, unpickler.empty = packed.buffer, {}
    return unpickler.load()


class _Parts:
    """Tensors laid one behind the other."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []
        self._end = 0

    def add(self, tensor: Tensor) -> int:
        """Where the bytes of `tensor` will begin."""
        data = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        begin, gap = self._end, -len(data) % ALIGNED
        self._parts += [data, torch.zeros(gap, dtype=torch.uint8)] if gap else [data]
        self._end += len(data) + gap
        return begin

    def joined(self) -> Tensor:
        return torch.cat(self._parts) if self._parts else torch.zeros(0, dtype=torch.uint8)


class _Pickler(pickle.Pickler):
    parts: _Parts

    def persistent_id(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or value.device.type != "cpu":
            return None
        begin = self.parts.add(value) if value.numel() else 0
        return begin, value.numel() * value.element_size(), value.dtype, tuple(value.shape)


class _Unpickler(pickle.Unpickler):
    """Reads only what this program's own workers wrote."""

    buffer: Tensor
    empty: dict[Any, Tensor]

    def persistent_load(self, place: Any) -> Tensor:
        begin, size, dtype, shape = place
        if size == 0:
            return self.empty.setdefault((dtype, shape), torch.empty(shape, dtype=dtype))
        return self.buffer[begin : begin + size].view(dtype).view(shape)


class Unpacked:
    """The batches of a loader whose workers pack; a thread unpacks the next while the device is busy with this one."""

    def __init__(self, batches: DataLoader[Packed]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Any]:
        packed = iter(self._batches)  # here, not in the thread: it starts the workers
        ready: queue.Queue[Any] = queue.Queue(AHEAD)
        over = threading.Event()
        thread = threading.Thread(target=_fetch, args=(packed, ready, over), daemon=True)
        thread.start()
        try:
            while True:
                batch, error = ready.get()
                if error is not None:
                    raise error
                if batch is None:
                    return
                yield batch
        finally:
            over.set()
            thread.join(timeout=5)


def _fetch(packed: Iterable[Packed], ready: queue.Queue[Any], over: threading.Event) -> None:
    try:
        for one in packed:
            if not _put((unpack(one), None), ready, over):
                return
        _put((None, None), ready, over)
    except BaseException as error:
        _put((None, error), ready, over)


def _put(value: Any, ready: queue.Queue[Any], over: threading.Event) -> bool:
    while not over.is_set():
        try:
            ready.put(value, timeout=0.2)
            return True
        except queue.Full:
            continue
    return False
