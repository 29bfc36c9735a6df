"""Low-rank changes of the language model that belong to one task (LoRA, Hu et al. 2021), on peft's layers.

They are on only in a call that may route to their task: every other call answers as before, to the bit.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from chiasm_registry import ChiasmError, InputError
from chiasm_registry.errors import shown
from torch import Tensor, nn

# Which adapters are on is a state of the layers: calls of several threads take turns.
_ONE_AT_A_TIME = threading.RLock()


def add_adapter(language: nn.Module, task: str, rank: int) -> None:
    """Fresh adapters of `rank` at every linear layer of `language`, which change nothing yet."""
    peft = _peft()
    names = _places(language)
    config = peft.LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.0, target_modules=names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are others already is what we want
        peft.inject_adapter_in_model(config, language, adapter_name=_called(task))


def adapter_tensors(language: nn.Module, task: str) -> dict[str, Tensor]:
    """`LAYER.A` (rank, in) and `LAYER.B` (out, rank) of the task's adapters; {} where it has none."""
    found = {}
    for name, layer in _adapted(language):
        if (own := _called(task)) in layer.lora_A:
            found[f"{name}.A"], found[f"{name}.B"] = layer.lora_A[own].weight, layer.lora_B[own].weight
    return found


@torch.no_grad()
def fill_adapter(language: nn.Module, task: str, tensors: Mapping[str, Tensor]) -> None:
    """Adapters with these values; refused, with nothing changed, where they are of another language model."""
    ranks = {tensor.shape[0] for name, tensor in tensors.items() if name.endswith(".A") and tensor.ndim == 2}
    rank = next(iter(ranks), 0)
    if not rank or {name: tensor.shape for name, tensor in tensors.items()} != _shapes(language, rank):
        raise InputError(f"the adapters of task {shown(repr(task), 40)} are of another language model")
    add_adapter(language, task, rank)
    for name, own in adapter_tensors(language, task).items():
        own.copy_(tensors[name])
    switch(language, ())


@contextmanager
def speaking_for(language: nn.Module, tasks: Sequence[str]) -> Iterator[None]:
    """Inside, the adapters of `tasks` are on and all others off; outside, all are off. Threads take turns inside."""
    with _ONE_AT_A_TIME:
        try:
            switch(language, tasks)
            yield
        finally:
            switch(language, ())


def switch(language: nn.Module, tasks: Sequence[str]) -> None:
    """Turn the adapters of `tasks` on and all others off; none of them learns by that."""
    for _, layer in _adapted(language):
        own = [name for name in map(_called, tasks) if name in layer.lora_A]
        layer.enable_adapters(bool(own))
        if own:
            layer.set_adapter(own, inference_mode=True)


def _adapted(language: nn.Module) -> Iterator[tuple[str, Any]]:
    return ((name, layer) for name, layer in language.named_modules() if hasattr(layer, "lora_A"))


def _places(language: nn.Module) -> list[str]:
    """The linear layers of the model itself, with adapters over them or without."""
    adapted = {name for name, _ in _adapted(language)}
    linear = {name for name, layer in language.named_modules() if isinstance(layer, nn.Linear)}
    return sorted(adapted | {n for n in linear if not any(n.startswith(f"{over}.") for over in adapted)})


def _shapes(language: nn.Module, rank: int) -> dict[str, tuple[int, ...]]:
    """What adapters of `rank` look like, by their names."""
    layers: dict[str, Any] = {name: language.get_submodule(name) for name in _places(language)}
    shapes: dict[str, tuple[int, ...]] = {f"{name}.A": (rank, layer.in_features) for name, layer in layers.items()}
    return shapes | {f"{name}.B": (layer.out_features, rank) for name, layer in layers.items()}


def _called(task: str) -> str:
    """The task's name among peft's: as it stands it may be one of a module's own, as `values`."""
    return f"task_{task}"


def _peft() -> Any:
    try:
        import peft
    except ImportError:
        raise ChiasmError("adapters (LoRA) need peft, which is not installed; pip install 'chiasm[lora]'") from None
    return peft
