"""Tensors come back as they went in; a file that is not exactly what its header says is refused."""

from __future__ import annotations

import json
import struct
import time
from typing import Any

import pytest
import safetensors.torch
import torch
from chiasm.checkpoint.tensors import read_tensors, tensor_chunks
from chiasm_registry.errors import CheckpointError
from hypothesis import given, settings
from hypothesis import strategies as st

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
DTYPES = (*FLOATS, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


def joined(tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> bytearray:
    return bytearray(b"".join(bytes(chunk) for chunk in tensor_chunks(tensors, metadata or {}, "file")))


def raw(header: Any, data: bytes = b"") -> bytearray:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return bytearray(struct.pack("<Q", len(text)) + text + data)


def one(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


@settings(max_examples=50, deadline=None)
@given(
    shapes=st.lists(st.lists(st.integers(1, 5), max_size=3), max_size=6),
    kinds=st.lists(st.sampled_from(DTYPES), min_size=6, max_size=6),
    metadata=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), st.text(st.characters(codec="utf-8"))),
)
def test_round_trip(shapes: list[list[int]], kinds: list[torch.dtype], metadata: dict[str, str]) -> None:
    """Honest tensors are read as they were written, by us and by the safetensors library."""
    tensors = {f"t{i}é": (9 * torch.rand(shape)).to(kinds[i]) for i, shape in enumerate(shapes)}
    data = joined(tensors, metadata)
    found, said = read_tensors(bytearray(data), "file")
    library = safetensors.torch.load(bytes(data))
    assert said == metadata
    assert found.keys() == library.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == library[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
        assert torch.equal(library[name], tensor)


def test_files_of_the_library_are_read() -> None:
    """Another writer's layout, unaligned tensors too, is no matter."""
    tensors = {"b": torch.randn(3).bfloat16(), "a": torch.randn(2, 2), "s": torch.tensor(1.5)}
    found, _ = read_tensors(bytearray(safetensors.torch.save(tensors)), "file")
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    unaligned = {
        "b": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]},
        "a": {"dtype": "F32", "shape": [1], "data_offsets": [2, 6]},
    }
    found, _ = read_tensors(raw(unaligned, b"\x80\x3f" + struct.pack("<f", 2.5)), "file")
    assert (found["a"].item(), found["b"].item()) == (2.5, 1.0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bytearray(b"\1\0\0"), "truncated"),
        (bytearray(8), "must hold JSON"),
        (bytearray(struct.pack("<Q", 2**63)), "header claims"),
        (bytearray(struct.pack("<Q", 100_000_001)), "header claims"),
        (bytearray(struct.pack("<Q", 10 * 2**20 + 1)), "header claims"),
        (bytearray(struct.pack("<Q", 50) + b"{}"), "truncated inside its header"),
        (raw(b"[]"), "JSON object"),
        (raw(b'{"a":1,"a":1}'), "key 'a' stands twice"),
        (raw(json.dumps(one())[:-1].encode() + b"," + json.dumps(one())[1:].encode(), bytes(8)), "'a' stands twice"),
        (raw(one(), bytes(7)), "7 bytes of tensors, its header says 8"),
        (raw(one(), bytes(9)), "9 bytes of tensors, its header says 8"),
        (raw(one(offsets=(4, 12)), bytes(12)), "hole or an overlap"),
        (raw({**one(), "b": one()["a"]}, bytes(8)), "hole or an overlap"),
        (raw(one(offsets=(8, 0)), bytes(8)), "do not fit its shape"),
        (raw(one(offsets=(-8, 0)), bytes(8)), "impossible offsets"),
        (raw(one(offsets=(0, 8.0)), bytes(8)), "impossible offsets"),
        (raw(one(shape=(3,)), bytes(8)), "do not fit its shape"),
        (raw(one(shape=(2**40, 2**40), offsets=(0, 0))), "do not fit its shape"),
        (raw(one(shape=(2**40, 0), offsets=(0, 0))), "sides must be whole numbers from 1 on"),
        (raw(one(shape=(True, 2)), bytes(8)), "sides must be"),
        (raw(one(shape=(-2, -1)), bytes(8)), "sides must be"),
        (raw(one(shape="2"), bytes(8)), "sides must be"),
        (raw(one(dtype="F64", shape=(1,)), bytes(8)), "dtype F64; only F32, F16, BF16"),
        (raw(one(dtype="U64", shape=(1,)), bytes(8)), "dtype U64"),
        (raw(one(dtype="I64"), bytes(8)), "do not fit its shape"),
        (raw(one(dtype="BOOL", shape=(8,)), b"\0\1\0\1\0\1\0\2"), "neither 0 nor 1"),
        (raw(one(dtype="C64", shape=(1,)), bytes(8)), "dtype C64"),
        (raw(one(dtype=["F32"]), bytes(8)), "dtype"),
        (raw({"a": {"dtype": "F32"}}), "not described"),
        (raw({"a": [1]}), "not described"),
        (raw({"__metadata__": {"a": 1}}), "metadata that is not text"),
        (raw(one(), struct.pack("<2f", 1, float("nan"))), "NaN or infinity"),
        (raw(one(), struct.pack("<2f", 1, float("-inf"))), "NaN or infinity"),
        (raw(b"[" * 100_000), "nested 100,000 deep"),
        (raw(b'{"a":' + b"9" * 5_000 + b"}"), "whole number of 5,000"),
        (raw(b'{"a":NaN}'), "NaN"),
    ],
)
def test_bad_files_are_refused(data: bytearray, words: str) -> None:
    """In one line that names the file and the fact, before a wrong tensor exists."""
    with pytest.raises(CheckpointError, match=words) as caught:
        read_tensors(data, "file")
    message = str(caught.value)
    assert message.startswith("file")
    assert len(message) <= 200
    assert "\n" not in message


def test_too_many_tensors_are_refused_quickly() -> None:
    """A header full of names costs little before it is refused."""
    many = {f"{i}": {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]} for i in range(60_000)}
    start = time.monotonic()
    with pytest.raises(CheckpointError, match="60000 tensors; the limit is 20000"):
        read_tensors(raw(many, bytes(240_000)), "file")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "tensor",
    [torch.ones(2).cfloat(), torch.ones(0), torch.ones(0).long(), torch.tensor([float("inf")]), torch.ones(1).double()],
)
def test_nothing_is_written_that_could_not_be_read(tensor: torch.Tensor) -> None:
    """Complex numbers, empty tensors, infinity and float64 are refused when they are stored."""
    with pytest.raises(CheckpointError, match="file: 'a' is"):
        joined({"a": tensor})


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_flipped_bytes_never_surprise(data: st.DataObject) -> None:
    """A damaged file either reads as finite tensors or is refused by our own error."""
    whole = joined({"a": torch.ones(2, 3), "b": torch.zeros(2).half()}, {"k": "v"})
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    del whole[data.draw(st.integers(0, len(whole))) :]
    try:
        tensors, _ = read_tensors(whole, "file")
    except CheckpointError:
        return
    assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())
