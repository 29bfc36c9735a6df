"""A network of transformers' InternVL from chiasm's `config.json`, without values, and values put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from chiasm_registry.errors import CheckpointError
from torch import Tensor, nn
from transformers import InternVLConfig
from transformers.initialization import no_init_weights

from ..checkpoint.later import Later
from .official.network import OfficialInternVL

_THREADS, _BATCH = 2, 2**24  # that read, and bytes that a thread reads at a time
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
    """The network with every parameter on the meta device, so that nothing gets any memory; its buffers have values."""
    internvl = internvl_config(config)
    try:
        with no_init_weights(), torch.inference_mode(False):  # a caller's own mode must not stick to the network
            with torch.device("meta"):
                network = OfficialInternVL(internvl)
            network.restore_buffers()
    except Exception as error:
        raise CheckpointError(UNBUILDABLE) from error
    network.tie_weights()
    return network


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

    def moved(name: str) -> Tensor:
        read = tensors[name].detach()
        tensor = read.to(device(name) if callable(device) else device, dtype if read.is_floating_point() else None)
        if tensor is not read and isinstance(stored := tensors[name], Later):
            stored.forget()
        return tensor

    for name, tensor in _ahead(moved, tensors):
        owner_name, _, leaf = name.rpartition(".")
        owner = module.get_submodule(owner_name)
        if leaf in owner._buffers:
            owner._buffers[leaf] = tensor
        else:
            old = owner._parameters[leaf]
            new[old] = owner._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)
        done += tensors[name].numel() * tensors[name].element_size()
        if told is not None:
            told(done, whole)
    for owner in module.modules():
        for leaf, parameter in owner._parameters.items():
            if parameter in new:
                owner._parameters[leaf] = new[parameter]


def _ahead(work: Callable[[str], Tensor], tensors: Mapping[str, Tensor | Later]) -> Iterator[tuple[str, Tensor]]:
    """Each name with its tensor, in order; two threads work ahead, as reading and checking wait for memory."""

    def worked(names: Sequence[str]) -> list[tuple[str, Tensor]]:
        return [(name, work(name)) for name in names]

    pool = ThreadPoolExecutor(_THREADS)
    try:
        if not _torch_works_in(pool):
            yield from (pair for names in _batches(tensors) for pair in worked(names))
            return
        for done in [pool.submit(worked, names) for names in _batches(tensors)]:
            yield from done.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _batches(tensors: Mapping[str, Tensor | Later]) -> Iterator[list[str]]:
    """Names in order, each list of them worth a thread's while: most tensors are smaller than the way there."""
    names: list[str] = []
    size = 0
    for name, tensor in tensors.items():
        names.append(name)
        size += tensor.numel() * tensor.element_size()
        if size >= _BATCH:
            yield names
            names, size = [], 0
    yield names


def _torch_works_in(pool: ThreadPoolExecutor) -> bool:
    """Not in a forked copy of a process whose torch was told a number of threads: a new thread's first use fails."""
    try:
        pool.submit(torch.get_num_threads).result()
    except RuntimeError:
        return False
    return True
