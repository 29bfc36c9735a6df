"""Which device and which type of numbers a caller may name, for whatever is loaded."""

from __future__ import annotations

import torch
from chiasm_registry.errors import InputError, shown

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def device_of(device: object) -> torch.device:
    """The device that is meant, which is there and can hold weights; raises `InputError`."""
    try:
        found = torch.device(device)  # type: ignore[call-overload]
        torch.empty(0, device=found)
    except Exception:  # each kind of device has its own way of not being there
        raise InputError(f"device {_said(device)} cannot be used here; 'cpu' always can") from None
    if found.type == "meta":
        raise InputError("device 'meta' holds no weights; 'cpu' always can")
    return found  # type: ignore[no-any-return]


def dtype_of(dtype: object, *, on_cpu: bool) -> torch.dtype:
    """The type that is meant, by itself or by its name; None is float32 on a CPU and bfloat16 elsewhere."""
    if dtype is None:
        return torch.float32 if on_cpu else torch.bfloat16
    named = {str(known).removeprefix("torch."): known for known in DTYPES}
    found = named.get(dtype) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or found not in DTYPES:
        raise InputError(f"dtype {_said(dtype)} is none that weights have; take one of {', '.join(named)}")
    return found


def _said(value: object) -> str:
    """Names and torch's own objects as they are written, anything else by its kind."""
    if value is None or type(value) in (str, torch.device, torch.dtype):
        return f"'{shown(value, 40)}'"
    return f"of type {shown(type(value).__name__, 40)}"
