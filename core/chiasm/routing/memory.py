"""What a conversation keeps between its turns: every id that was fed, and the cache that holds what came of it.

A cache's tensors are never written to, only replaced, so a fork shares them until one side goes on.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import DynamicCache


@dataclass(eq=False)
class Memory:
    """One conversation as the language model has it."""

    ids: list[int] = field(default_factory=list)  # fed: their keys and values are in the cache
    cache: DynamicCache = field(default_factory=DynamicCache)
    unfed: list[int] = field(default_factory=list)  # said last, and not fed yet
    position: int = 0  # of the next id; behind an image it may be less than the number of ids

    def fork(self) -> Memory:
        """The same past with a future of its own; costs no memory until one of the two goes on."""
        cache = DynamicCache()
        cache.layers = [copy.copy(layer) for layer in self.cache.layers]
        return Memory(list(self.ids), cache, list(self.unfed), self.position)


def cached(cache: DynamicCache) -> int:
    """How many positions every layer holds; a pass that was broken off has filled only some of them."""
    lengths = [0 if layer.values is None else layer.values.shape[-2] for layer in cache.layers]
    return min(lengths, default=0)


def cut(cache: DynamicCache, length: int) -> None:
    """Keep the first `length` positions."""
    for layer in cache.layers:
        if layer.is_initialized and layer.keys.numel():
            layer.keys, layer.values = layer.keys[..., :length, :], layer.values[..., :length, :]


def joined(memories: Sequence[Memory]) -> tuple[DynamicCache, Tensor]:
    """One cache (B rows, P positions) of several conversations, and a (B, P) mask of what is real in it.

    Shorter ones are padded on the left. A single conversation's cache is handed on as it is, and grows in place.
    """
    lengths = torch.tensor([len(memory.ids) for memory in memories])
    longest = int(lengths.max())
    real = torch.arange(longest)[None] >= (longest - lengths)[:, None]
    if len(memories) == 1:
        return memories[0].cache, real
    cache = DynamicCache()
    for index in range(max(len(memory.cache.layers) for memory in memories) if longest else 0):
        keys = _stacked([_kept(memory, index, 0) for memory in memories], longest)
        values = _stacked([_kept(memory, index, 1) for memory in memories], longest)
        cache.update(keys, values, index)
    return cache, real


def taken(cache: DynamicCache, row: int, places: Tensor) -> DynamicCache:
    """The cache of one row of a batch; `places` (n,) are the positions that are its own."""
    own = DynamicCache()
    for index, layer in enumerate(cache.layers):
        where = places.to(layer.keys.device)
        own.update(layer.keys[row : row + 1, :, where], layer.values[row : row + 1, :, where], index)
    return own


def _kept(memory: Memory, index: int, which: int) -> Tensor | None:
    """Keys (0) or values (1) of one layer, (1, heads, n, d); None where nothing was said yet."""
    if not memory.ids:
        return None
    layer = memory.cache.layers[index]
    tensor: Tensor = (layer.keys, layer.values)[which]
    return tensor


def _stacked(tensors: Sequence[Tensor | None], length: int) -> Tensor:
    like = next(tensor for tensor in tensors if tensor is not None)
    stack = like.new_zeros(len(tensors), like.shape[1], length, like.shape[3])
    for row, tensor in enumerate(tensors):
        if tensor is not None:
            stack[row, :, length - tensor.shape[2] :] = tensor[0]
    return stack
