"""safetensors files, read and written by us: the header is checked before a tensor exists, values after.

Weights are floats; whole numbers and bools are for buffers. Refused: any other dtype, empty tensors, duplicate keys,
overlaps, holes, trailing bytes, NaN and infinity, a bool that is neither 0 nor 1. The tensors share the buffer that was
read, so a file that changes later changes nothing here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chiasm_registry.errors import CheckpointError, shown

from ..limits import LIMITS
from ..strict_json import parse_object

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_FLOATS = {"F32": ("float32", 4), "F16": ("float16", 2), "BF16": ("bfloat16", 2)}
_WHOLE = {"I64": ("int64", 8), "I32": ("int32", 4), "I16": ("int16", 2), "I8": ("int8", 1), "U8": ("uint8", 1)}
_DTYPES = {**_FLOATS, **_WHOLE, "BOOL": ("bool", 1)}
_METADATA = "__metadata__"
_PIECE = 2**19  # numbers
_EXPONENTS = {  # the whole number of the same size, and its smallest value whose exponent is all ones
    "torch.bfloat16": ("int16", 0x7F80),
    "torch.float16": ("int16", 0x7C00),
    "torch.float32": ("int32", 0x7F800000),
}


@dataclass(frozen=True)
class Entry:
    """One tensor of a header; `start` and `end` count bytes behind the header."""

    name: str
    dtype: str  # as torch calls it
    itemsize: int
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Header:
    """What stands before the tensors."""

    entries: tuple[Entry, ...]
    metadata: dict[str, str]
    size: int  # bytes in front of the data


def parse_header(data: bytes | bytearray | memoryview, name: str, size: int | None = None) -> Header:
    """The checked header of a file of `size` bytes, whose beginning (or all of it) is in memory."""
    size = len(data) if size is None else size
    if len(data) < 8:
        raise CheckpointError(f"{name} is truncated: it is too short for a safetensors file")
    length = int.from_bytes(data[:8], "little")
    if length > LIMITS.header_bytes:
        raise CheckpointError(f"{name} is not a safetensors file: its header claims {length} bytes")
    if 8 + length > len(data):
        raise CheckpointError(f"{name} is truncated inside its header")
    table = parse_object(bytes(data[8 : 8 + length]), name, error=CheckpointError)
    metadata = _metadata(table.pop(_METADATA, {}), name)
    if len(table) > LIMITS.tensors:
        raise CheckpointError(f"{name} holds {len(table)} tensors; the limit is {LIMITS.tensors}")
    entries = tuple(sorted((_entry(key, value, name) for key, value in table.items()), key=lambda e: e.start))
    end = 0
    for entry in entries:
        if entry.start != end:
            raise CheckpointError(f"{name} has a hole or an overlap before '{shown(entry.name)}'")
        end = entry.end
    if end != size - 8 - length:
        raise CheckpointError(f"{name} has {size - 8 - length} bytes of tensors, its header says {end}")
    return Header(entries, metadata, 8 + length)


def read_tensors(data: bytearray, name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a file in memory, finite, and its metadata."""
    header = parse_header(data, name)
    tensors = {entry.name: _tensor(data, header.size, entry) for entry in header.entries}
    for key, tensor in tensors.items():
        if fault := fault_of(tensor):
            raise CheckpointError(f"{name}: '{shown(key)}' holds {fault}")
    return tensors, header.metadata


def tensor_chunks(
    tensors: Mapping[str, Any], metadata: Mapping[str, str], name: str
) -> Iterator[bytes | memoryview]:
    """The bytes of a safetensors file, piece by piece; widest dtypes first so that every tensor is aligned.

    Values are tensors, or `Later`, which are checked when they are read.
    """
    items = sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))
    header: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    start = 0
    for key, tensor in items:
        end = start + tensor.numel() * tensor.element_size()
        header[key] = {"dtype": _code(tensor, key, name), "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > LIMITS.header_bytes or len(items) > LIMITS.tensors:
        raise CheckpointError(
            f"{name} would hold {len(items)} tensors with {len(text)} bytes of names; that is too many"
        )
    yield len(text).to_bytes(8, "little")
    yield text
    for _, tensor in items:
        yield _raw(tensor)


def fault_of(tensor: Tensor) -> str | None:
    """What a tensor that is not empty may not hold, if it holds it."""
    import torch

    if tensor.is_floating_point() and not _finite(tensor):
        return "NaN or infinity"
    if tensor.dtype == torch.bool and int(tensor.view(torch.uint8).max()) > 1:
        return "a bool that is neither 0 nor 1"
    return None


def _finite(tensor: Tensor) -> bool:
    """A float is finite when its exponent is not all ones; where a bit of it is set in no number, all are.

    That one look passes weights whose numbers are small, at the speed of memory. Others are looked at again in pieces
    that stay in the processor's cache: as whole numbers with a sign the largest is the largest positive float, as ones
    without it the largest negative.
    """
    import numpy as np
    import torch

    if tensor.device.type != "cpu" or not tensor.is_contiguous() or str(tensor.dtype) not in _EXPONENTS:
        # The extremes of a tensor with a NaN are NaN.
        return all(math.isfinite(extreme) for extreme in torch.aminmax(tensor))
    kind, exponent = _EXPONENTS[str(tensor.dtype)]
    signed: Any = tensor.detach().reshape(-1).view(getattr(torch, kind)).numpy()
    if int(np.bitwise_or.reduce(signed)) & exponent != exponent:
        return True
    unsigned: Any = signed.view(f"u{kind}")
    sign = 1 << (8 * signed.itemsize - 1)
    pieces = (slice(start, start + _PIECE) for start in range(0, len(signed), _PIECE))
    return all(signed[p].max() < exponent and unsigned[p].max() < sign + exponent for p in pieces)


def _raw(tensor: Any) -> memoryview:
    import torch

    flat: Any = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return memoryview(flat)


def _code(tensor: Any, key: str, name: str) -> str:
    """The header's word for the dtype; refuses what reading would refuse."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    code = next((code for code, (known, _) in _DTYPES.items() if known == dtype), None)
    if code is None or key == _METADATA:
        stored = "only floats of 16 or 32 bits, int8 to int64, uint8 and bool are stored"
        raise CheckpointError(f"{name}: '{shown(key)}' is {dtype}; {stored}")
    if tensor.numel() == 0 or (not hasattr(tensor, "read") and fault_of(tensor.detach())):
        raise CheckpointError(f"{name}: '{shown(key)}' is empty or holds NaN or infinity; it is not stored")
    return code


def _metadata(value: Any, name: str) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise CheckpointError(f"{name} has metadata that is not text")
    return value


def _entry(key: str, value: Any, name: str) -> Entry:
    what = f"{name}: '{shown(key)}'"
    if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{what} is not described as safetensors demands")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise CheckpointError(f"{what} has the dtype {shown(dtype, 20)}; only {', '.join(_DTYPES)} are read")
    if not _whole(shape, 1) or len(shape) > 8:
        raise CheckpointError(f"{what} has the shape {shown(shape, 40)}; sides must be whole numbers from 1 on")
    if not _whole(offsets, 0) or len(offsets) != 2:
        raise CheckpointError(f"{what} has impossible offsets")
    torch_name, itemsize = _DTYPES[dtype]
    if offsets[1] - offsets[0] != math.prod(shape) * itemsize:
        raise CheckpointError(f"{what} has offsets that do not fit its shape")
    return Entry(key, torch_name, itemsize, tuple(shape), offsets[0], offsets[1])


def _whole(values: Any, least: int) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= least for value in values)


def _tensor(data: bytearray, header: int, entry: Entry) -> Tensor:
    import torch

    dtype: torch.dtype = getattr(torch, entry.dtype)
    start = header + entry.start
    if start % entry.itemsize:  # legal, but torch wants its numbers aligned
        data, start = data[start : header + entry.end], 0
    return torch.frombuffer(data, dtype=dtype, count=math.prod(entry.shape), offset=start).reshape(entry.shape)
