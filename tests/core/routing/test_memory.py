"""Caches of conversations: put together and taken apart they are what they were, and a fork leaves the other alone."""

from __future__ import annotations

import torch
from chiasm.routing.memory import Memory, cached, cut, joined, taken


def memory(length: int, seed: int, layers: int = 2) -> Memory:
    generator = torch.Generator().manual_seed(seed)
    one = Memory(list(range(length)), position=length)
    for index in range(layers if length else 0):
        keys, values = torch.randn(2, 1, 2, length, 4, generator=generator)
        one.cache.update(keys, values, index)
    return one


def test_what_is_joined_is_taken_apart_again() -> None:
    memories = [memory(3, 1), memory(0, 2), memory(5, 3)]
    cache, real = joined(memories)
    assert real.tolist() == [[False] * 2 + [True] * 3, [False] * 5, [True] * 5]
    assert cached(cache) == 5
    for row, one in enumerate(memories):
        own = taken(cache, row, real[row].nonzero()[:, 0])
        for index, layer in enumerate(one.cache.layers):
            assert torch.equal(own.layers[index].keys, layer.keys)
            assert torch.equal(own.layers[index].values, layer.values)


def test_one_conversation_is_not_copied() -> None:
    one = memory(3, 1)
    cache, real = joined([one])
    assert cache is one.cache
    assert real.tolist() == [[True] * 3]


def test_a_fork_shares_what_was_and_not_what_comes() -> None:
    one = memory(3, 1)
    keys = one.cache.layers[0].keys
    fork = one.fork()
    assert fork.cache.layers[0].keys.data_ptr() == keys.data_ptr()
    one.cache.update(torch.ones(1, 2, 1, 4), torch.ones(1, 2, 1, 4), 0)
    one.ids.append(9)
    assert fork.cache.layers[0].keys.shape[-2] == len(fork.ids) == 3
    assert torch.equal(fork.cache.layers[0].keys, keys)


def test_a_pass_that_was_broken_off_is_cut_back() -> None:
    """The first layer has one position more than the second, and its keys one more than its values."""
    one = memory(3, 1)
    layer = one.cache.layers[0]
    layer.keys = torch.cat([layer.keys, torch.ones(1, 2, 1, 4)], 2)
    assert cached(one.cache) == 3
    cut(one.cache, 3)
    assert {tuple(t.shape) for entry in one.cache.layers for t in (entry.keys, entry.values)} == {(1, 2, 3, 4)}
    cut(one.cache, 0)
    assert cached(one.cache) == 0
    one.cache.update(torch.ones(1, 2, 2, 4), torch.ones(1, 2, 2, 4), 0)
    assert one.cache.layers[0].keys.shape[-2] == 2
