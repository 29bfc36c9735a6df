"""Guided speech: the phrases are given, each is a branch behind one shared prefix, all in one forward pass.

A branch sees the prefix and itself, so that what comes of a phrase does not depend on what else was asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from chiasm_registry import InputError
from torch import Tensor
from transformers import DynamicCache

from .network import Network
from .sequence import Markers, branch_ids, branch_mask, branch_positions, prompt_positions

IDS_AT_ONCE = 4096  # a bound on memory, as the mask is a square of them


@dataclass(frozen=True, eq=False)
class Prefix:
    """What every phrase sees, heard once: its keys and values, its length, and the position behind it."""

    cache: DynamicCache
    length: int
    behind: int


def hear_prefix(
    network: Network,
    markers: Markers,
    prefix: Sequence[int],
    image_tokens: Tensor | None,
    places: Sequence[Tensor | None] = (),
) -> Prefix:
    """One pass over the ids of a prefix; `places` are those of its images, where positions are not simply counted."""
    device = next(network.parameters()).device
    ids = torch.tensor([list(prefix)], device=device)
    cache = DynamicCache()
    axes, behind = prompt_positions(prefix, markers.image, places)
    positions = axes.to(device) if len(axes) == 1 else axes[:, None].to(device)
    network.backbone.speak(network.embed(ids, markers.image, image_tokens), None, positions, cache)
    return Prefix(cache, len(prefix), behind)


def speak_guided(
    network: Network,
    markers: Markers,
    prefix: Prefix,
    phrases: Sequence[Sequence[int]],
    tasks: Sequence[str],
    *,
    at_once: int,
) -> list[dict[str, Tensor]]:
    """For each phrase (its ids) the slots (K, D) of each task; at most `at_once` phrases share a pass.

    An `InputError` if a phrase is longer than the model has positions for.
    """
    branches = [branch_ids(phrase, tasks, network.rows, markers) for phrase in phrases]
    longest = prefix.behind + max(map(len, branches), default=0)
    if longest > network.backbone.positions:
        most = network.backbone.positions
        raise InputError(f"a phrase with its prompt has {longest:,} tokens; the model takes {most:,}")
    if longest > network.backbone.steady:
        at_once = 1  # company would change what each is worth
    spoken: list[dict[str, Tensor]] = []
    for chunk in _chunks(branches, at_once):
        spoken += _speak_branches(network, markers, prefix, chunk, tasks)
    return spoken


def _chunks(branches: Sequence[list[int]], at_once: int) -> Iterator[list[list[int]]]:
    """Branches that share a pass, whose mask grows with the square of their ids."""
    chunk: list[list[int]] = []
    for branch in branches:
        if chunk and (len(chunk) == at_once or sum(map(len, chunk)) + len(branch) > IDS_AT_ONCE):
            yield chunk
            chunk = []
        chunk.append(branch)
    if chunk:
        yield chunk


def _speak_branches(
    network: Network,
    markers: Markers,
    prefix: Prefix,
    branches: Sequence[Sequence[int]],
    tasks: Sequence[str],
) -> list[dict[str, Tensor]]:
    """One pass over branches behind a prefix, whose cache is left as it was found."""
    past, behind, cache = prefix.length, prefix.behind, prefix.cache
    device = next(network.parameters()).device
    ids = torch.tensor([[i for branch in branches for i in branch]], device=device)
    number = torch.tensor([[k for k, branch in enumerate(branches, 1) for _ in branch]], device=device)
    embeds = network.embed(ids, markers.image)
    mask = branch_mask(number, torch.zeros(1, past, dtype=torch.long, device=device), embeds.dtype)
    hidden = network.backbone.speak(embeds, mask, branch_positions(number, behind), cache)
    cache.crop(past - cache.get_seq_length())  # a negative count is how many positions to drop
    slots = {task: network.slots(ids, hidden, task) for task in tasks}
    return [{task: slots[task][k] for task in tasks} for k in range(len(branches))]
