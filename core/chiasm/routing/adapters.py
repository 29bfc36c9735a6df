"""Low-rank changes of the language model that belong to one task (LoRA, Hu et al. 2021), on peft's layers.

They are on only in a call that may route to their task: every other call answers as before, to the bit.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from chiasm_registry import ChiasmError, InputError
from chiasm_registry.errors import shown
from torch import Tensor, nn


def add_adapter(language: nn.Module, task: str, rank: int) -> list[nn.Parameter]:
    """Fresh adapters of `rank` at every linear layer of `language`, which change nothing yet; their parameters."""
    peft = _peft()
    names = _places(language)
    config = peft.LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.0, target_modules=names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there are others already is what we want
        peft.inject_adapter_in_model(config, language, adapter_name=task)
    return [own for name, own in language.named_parameters() if f".{task}." in name and ".lora_" in name]


def adapter_tensors(language: nn.Module, task: str) -> dict[str, Tensor]:
    """`LAYER.A` (rank, in) and `LAYER.B` (out, rank) of the task's adapters; {} where it has none."""
    found = {}
    for name, layer in _adapted(language):
        if task in layer.lora_A:
            found[f"{name}.A"], found[f"{name}.B"] = layer.lora_A[task].weight, layer.lora_B[task].weight
    return found


@torch.no_grad()
def fill_adapter(language: nn.Module, task: str, tensors: Mapping[str, Tensor]) -> None:
    """Adapters with these values; refused, with nothing changed, where they are of another language model."""
    wanted = {f"{name}.{part}" for name in _places(language) for part in "AB"}
    ranks = {tensor.shape[0] for name, tensor in tensors.items() if name.endswith(".A")}
    if tensors.keys() != wanted or len(ranks) != 1:
        raise InputError(f"the adapters of task {shown(repr(task), 40)} are of another language model")
    add_adapter(language, task, ranks.pop())
    for name, own in adapter_tensors(language, task).items():
        if own.shape != tensors[name].shape:
            raise InputError(f"the adapters of task {shown(repr(task), 40)} are of another language model")
        own.copy_(tensors[name])
    switch(language, ())


@contextmanager
def speaking_for(language: nn.Module, tasks: Sequence[str]) -> Iterator[None]:
    """Inside, the adapters of `tasks` are on and all others off; outside, all are off."""
    try:
        switch(language, tasks)
        yield
    finally:
        switch(language, ())


def switch(language: nn.Module, tasks: Sequence[str]) -> None:
    """Turn the adapters of `tasks` on and all others off; none of them learns by that."""
    for _, layer in _adapted(language):
        own = [task for task in tasks if task in layer.lora_A]
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


def _peft() -> Any:
    try:
        import peft
    except ImportError:
        raise ChiasmError("adapters (LoRA) need peft, which is not installed; pip install 'chiasm[lora]'") from None
    return peft
