"""A network of transformers' InternVL from chiasm's `config.json`, without values, and values put into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from accelerate import init_empty_weights
from chiasm_registry.errors import CheckpointError
from torch import Tensor, nn
from transformers import InternVLConfig
from transformers.initialization import no_init_weights

from ..checkpoint.later import Later
from .official.network import OfficialInternVL

UNBUILDABLE = "config.json does not describe an InternVL model that can be built; look at its key 'internvl'"


def internvl_config(config: Mapping[str, Any]) -> InternVLConfig:
    """transformers' configuration in the key `internvl`, with an attention that no file chooses."""
    try:
        internvl = InternVLConfig(**config["internvl"])
        internvl._attn_implementation = "sdpa"
    except Exception as error:  # the libraries raise many kinds, and quote the whole configuration
        raise CheckpointError(UNBUILDABLE) from error
    return internvl


def blank_internvl(config: Mapping[str, Any]) -> OfficialInternVL:
    """The network with every parameter on the meta device; its buffers have their values."""
    internvl = internvl_config(config)
    try:
        with no_init_weights(), init_empty_weights(include_buffers=False):
            network = OfficialInternVL(internvl)
    except Exception as error:
        raise CheckpointError(UNBUILDABLE) from error
    network.tie_weights()
    return network


def native_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of the network, by transformers' names; nothing gets any memory."""
    internvl = internvl_config(config)
    try:
        with no_init_weights(), torch.device("meta"):
            network = OfficialInternVL(internvl)
    except Exception as error:
        raise CheckpointError(UNBUILDABLE) from error
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def put(
    module: nn.Module,
    tensors: Mapping[str, Tensor | Later],
    dtype: torch.dtype | None,
    device: torch.device | Callable[[str], torch.device],
    told: Callable[[int, int], None] | None = None,
) -> None:
    """Give `module` the parameters in `tensors`, one after the other; `told` hears bytes done and bytes in all.

    Names and shapes have been checked. `dtype` None keeps what is stored. A parameter of two names keeps both.
    """
    whole = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    done, new = 0, {}
    for name, stored in tensors.items():
        owner_name, _, leaf = name.rpartition(".")
        owner = module.get_submodule(owner_name)
        tensor = stored.detach()
        tensor = tensor.to(device(name) if callable(device) else device, dtype if tensor.is_floating_point() else None)
        if leaf in owner._buffers:
            owner._buffers[leaf] = tensor
        else:
            old = owner._parameters[leaf]
            new[old] = owner._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)
        done += stored.numel() * stored.element_size()
        if told is not None:
            told(done, whole)
    for owner in module.modules():
        for leaf, parameter in owner._parameters.items():
            if parameter in new:
                owner._parameters[leaf] = new[parameter]
