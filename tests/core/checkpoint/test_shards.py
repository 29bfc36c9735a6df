"""Weights of foreign folders: read when they are wanted, copied or mapped, and checked either way."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from chiasm.checkpoint.later import Later
from chiasm.checkpoint.shards import names_in, open_shards
from chiasm.checkpoint.tensors import fault_of
from chiasm.limits import LIMITS
from chiasm_registry.errors import CheckpointError
from safetensors.torch import save_file
from torch import Tensor

MAPPED = replace(LIMITS, copied_bytes=0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    tensors = {
        "a": torch.randn(700, 33, generator=generator).to(torch.bfloat16),
        "b": torch.randn(5, generator=generator),
        "c": torch.randn(3, 4, generator=generator).to(torch.float16),
        "d": torch.arange(7),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path


def opened(folder: Path, *, mapped: bool) -> dict[str, Later]:
    return open_shards(folder, names_in(folder), limits=MAPPED if mapped else LIMITS)


@pytest.mark.parametrize("mapped", [False, True])
def test_both_ways_give_every_bit(folder: Path, mapped: bool) -> None:
    from safetensors.torch import load_file

    wanted = load_file(folder / "model.safetensors")
    found = opened(folder, mapped=mapped)
    assert found.keys() == wanted.keys()
    for name, later in found.items():
        assert (later.shape, later.dtype) == (tuple(wanted[name].shape), wanted[name].dtype)
        assert torch.equal(later.detach(), wanted[name])
        later.forget()
        assert torch.equal(later.detach(), wanted[name])


def test_a_copied_tensor_does_not_depend_on_its_file(folder: Path) -> None:
    tensor = opened(folder, mapped=False)["a"].detach()
    before = tensor.clone()
    (folder / "model.safetensors").write_bytes(bytes(100))
    assert torch.equal(tensor, before)


@pytest.mark.parametrize("mapped", [False, True])
def test_a_file_that_shrinks_before_it_is_read_is_named(folder: Path, mapped: bool) -> None:
    found = opened(folder, mapped=mapped)
    os.truncate(folder / "model.safetensors", 2000)
    with pytest.raises(CheckpointError, match=r"model.safetensors.*(shrank|changed) while it was read"):
        found["a"].detach()


def test_a_mapped_tensor_may_be_written_without_the_file_changing(folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    opened(folder, mapped=True)["a"].detach().zero_()
    assert (folder / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 2**19 - 1, 2**19, 2**19 + 4])
def test_no_number_that_is_not_finite_passes(dtype: torch.dtype, value: float, place: int) -> None:
    numbers = torch.full((2**19 + 5,), torch.finfo(dtype).min, dtype=dtype)
    numbers[1::2] = torch.finfo(dtype).max
    assert fault_of(numbers) is None
    numbers[place] = value
    assert fault_of(numbers) == "NaN or infinity"
    assert fault_of(-numbers) == "NaN or infinity"


def test_what_lies_apart_is_checked_too() -> None:
    strided: Tensor = torch.zeros(8, 8)[:, ::2]
    assert fault_of(strided) is None
    strided[3, 1] = float("inf")
    assert fault_of(strided) == "NaN or infinity"
