"""Weights of foreign folders: read when they are wanted, copied or mapped, and checked either way."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from chiasm.checkpoint.later import Stored
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


def opened(folder: Path, *, mapped: bool) -> dict[str, Stored]:
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


ROWS = [slice(4, 8), slice(16, 20), slice(0, 4)]


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("width", [512, 500])  # of 16 bits: four rows are a page, or are not
def test_rows_are_read_by_themselves(tmp_path: Path, mapped: bool, width: int) -> None:
    tensor = torch.randn(24, width).to(torch.bfloat16)
    save_file({"a": torch.zeros(77, dtype=torch.bfloat16), "b": tensor}, tmp_path / "model.safetensors")
    some = opened(tmp_path, mapped=mapped)["b"].rows(ROWS)
    assert (some.shape, some.dtype) == ((12, width), torch.bfloat16)
    wanted = torch.cat([tensor[rows] for rows in ROWS])
    assert torch.equal(some.detach(), wanted)
    some.forget()
    kept = some.detach()
    assert torch.equal(kept, wanted)
    kept.zero_()
    assert torch.equal(opened(tmp_path, mapped=mapped)["b"].detach(), tensor)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("place", [(4, 0), (18, 100), (3, 511)])
def test_rows_with_a_number_that_is_not_finite_are_named(tmp_path: Path, mapped: bool, place: tuple[int, int]) -> None:
    tensor = torch.zeros(24, 512, dtype=torch.bfloat16)
    tensor[place] = float("nan")
    save_file({"b": tensor}, tmp_path / "model.safetensors")
    stored = opened(tmp_path, mapped=mapped)["b"]
    with pytest.raises(CheckpointError, match=r"model.safetensors.*'b' holds NaN or infinity"):
        stored.rows(ROWS).detach()
    assert not stored.rows([slice(8, 16)]).detach().any()


def test_a_mapped_tensor_may_be_written_without_the_file_changing(folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    opened(folder, mapped=True)["a"].detach().zero_()
    assert (folder / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 2**19 - 1, 2**19, 2**19 + 4])
@pytest.mark.parametrize("size", [0.02, 1.99, 2.0, None])
def test_no_number_that_is_not_finite_passes(
    dtype: torch.dtype, value: float, place: int, size: float | None
) -> None:
    """The first, the last, one in the middle: among small numbers, among larger ones, among the largest there are."""
    numbers = torch.full((2**19 + 5,), -size if size else torch.finfo(dtype).min, dtype=dtype)
    numbers[1::2] = size or torch.finfo(dtype).max
    numbers[::7] = torch.finfo(dtype).tiny
    assert fault_of(numbers) is None
    numbers[place] = value
    assert fault_of(numbers) == "NaN or infinity"
    assert fault_of(-numbers) == "NaN or infinity"


def test_what_lies_apart_is_checked_too() -> None:
    strided: Tensor = torch.zeros(8, 8)[:, ::2]
    assert fault_of(strided) is None
    strided[3, 1] = float("inf")
    assert fault_of(strided) == "NaN or infinity"
