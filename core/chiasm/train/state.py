"""What a checkpoint holds, as safetensors and JSON, never a pickle: weights, averages, optimizer, random states."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from chiasm_registry.errors import TrainingError, shown
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

WEIGHTS, AVERAGES, OPTIMIZER = "weights.safetensors", "averages.safetensors", "optimizer.safetensors"


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write `tensors`; names that share memory are written once each."""
    save_file({name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}, path)


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill the module from a checkpoint's weights, all or none; TrainingError names the first that does not fit."""
    stored, mine = load_file(path), module.state_dict()
    for name in sorted({*stored, *mine}):
        if name not in stored or name not in mine or stored[name].shape != mine[name].shape:
            raise TrainingError(f"the checkpoint's weights are of another model: {shown(name)}; take another --out")
    module.load_state_dict(stored)


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimizer's state by `parameter number/name`."""
    state = optimizer.state_dict()["state"]
    return {f"{number}/{name}": tensor for number, entry in state.items() for name, tensor in entry.items()}


def load_optimizer(optimizer: Optimizer, path: Path) -> None:
    """Restore `optimizer_tensors`; the groups' rates stay as the config and the schedule make them."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in load_file(path).items():
        number, _, name = key.partition("/")
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def random_states() -> dict[str, Any]:
    """The random states of this process as JSON values."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    states = {
        "python": random.getstate(),
        "numpy": [kind, np.asarray(keys).tolist(), position, has_gauss, gauss],
        "torch": bytes(torch.get_rng_state().tolist()).hex(),
    }
    if torch.cuda.is_available():
        states["cuda"] = bytes(torch.cuda.get_rng_state().tolist()).hex()
    return states


def set_random_states(states: Mapping[str, Any]) -> None:
    """Put this process's random states back."""
    version, keys, gauss = states["python"]
    random.setstate((version, tuple(keys), gauss))
    kind, numbers, position, has_gauss, cached = states["numpy"]
    np.random.set_state((kind, np.asarray(numbers, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(_bytes(states["torch"]))
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(_bytes(states["cuda"]))


def _bytes(text: str) -> Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
