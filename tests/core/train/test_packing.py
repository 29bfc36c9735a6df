"""A batch comes out of a worker's parcel as it went in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from chiasm.train.packing import pack, unpack
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Target:
    boxes: Tensor
    name: str


def test_every_kind_of_tensor_comes_back() -> None:
    """Values, dtypes and shapes survive, also of empty, scalar, transposed and one-byte tensors, inside any object."""
    tensors = {
        "floats": torch.arange(12.0).reshape(3, 4).T,
        "flags": torch.tensor([True, False, True]),
        "long": torch.tensor(7),
        "half": torch.ones(5, dtype=torch.bfloat16),
        "empty": torch.zeros(0, 4),
    }
    targets = [[Target(torch.ones(2, 4), "cup")], [Target(torch.zeros(0, 4), "cat")]]
    value = {**tensors, "ids": ["a", "b"], "targets": targets}
    back = unpack(pack(value))
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor)
    assert back["ids"] == ["a", "b"]
    assert torch.equal(back["targets"][0][0].boxes, torch.ones(2, 4))
    assert back["targets"][1][0].boxes.shape == (0, 4)


def test_many_small_tensors_travel_as_one() -> None:
    """The parcel has one tensor, however many it carries."""
    packed = pack([torch.full((3,), float(k)) for k in range(500)])
    assert isinstance(packed.rest, bytes)
    assert [float(tensor.sum()) for tensor in unpack(packed)] == [3.0 * k for k in range(500)]
