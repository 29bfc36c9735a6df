"""Pixel arrays of the caller as PIL images of our own: numpy uint8 HxW, HxWx3, HxWx4 and torch uint8 3xHxW."""

from __future__ import annotations

from typing import Any

from chiasm_registry.errors import InputError
from PIL import Image

from chiasm.limits import Limits

from .decode import check_size


def array_to_image(array: Any, name: str, limits: Limits) -> Image.Image:
    """A copy of a numpy array in memory order of its own; sizes are checked before anything is copied."""
    import numpy as np

    if array.dtype != np.uint8 or array.dtype.fields is not None:
        raise InputError(f"{name} holds {_kind(array)}; expected uint8 HxWx3 with values 0..255")
    if array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4)):
        check_size(array.shape[1], array.shape[0], name, limits)
        return Image.fromarray(np.array(array, order="C", copy=True, subok=False))
    raise InputError(f"{name} has the shape {_shape(array)}; expected uint8 HxWx3 (or HxW, HxWx4)")


def tensor_to_image(tensor: Any, name: str, limits: Limits) -> Image.Image:
    """A copy of a torch tensor from any device."""
    import torch

    if tensor.dtype != torch.uint8:
        raise InputError(f"{name} holds {_kind(tensor)}; expected uint8 3xHxW with values 0..255")
    if tensor.ndim != 3 or tensor.shape[0] != 3:
        raise InputError(f"{name} has the shape {_shape(tensor)}; expected uint8 3xHxW")
    check_size(tensor.shape[2], tensor.shape[1], name, limits)
    try:
        array = tensor.detach().permute(1, 2, 0).cpu().contiguous().numpy()
    except Exception as error:  # a meta, sparse or quantised tensor
        raise InputError(f"{name} has no plain pixels in memory; pass a dense uint8 3xHxW tensor") from error
    return array_to_image(array, name, limits)


def _kind(array: Any) -> str:
    return str(array.dtype).removeprefix("torch.")[:40]


def _shape(array: Any) -> str:
    return "x".join(str(side) for side in tuple(array.shape)[:6]) or "()"
