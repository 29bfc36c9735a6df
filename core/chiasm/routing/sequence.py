"""What is fed to the language model: ids of the whole space, and which positions belong to which branch.

A sequence is a prefix that every branch sees, followed by branches that see the prefix and themselves. A plain
conversation is a prefix alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .rows import Rows


@dataclass(frozen=True)
class Markers:
    """Ids of the control tokens that frame a phrase and end an answer."""

    ref: int
    unref: int
    end: int
    image: int


def branch_ids(phrase: Sequence[int], tasks: Sequence[str], rows: Rows, markers: Markers) -> list[int]:
    """`<ref>phrase</ref>` and, for each task, its token with its slots behind it."""
    ids = [markers.ref, *phrase, markers.unref]
    for task in tasks:
        ids += [rows.token_id(task), *rows.slot_ids(task)]
    return ids


def branch_mask(branch: Tensor, prefix_branch: Tensor | None = None, dtype: torch.dtype = torch.float32) -> Tensor:
    """The additive mask (B, 1, Q, P + Q) of sequences whose positions carry branch numbers.

    `branch` (B, Q): 0 the prefix, k > 0 the k-th branch, -1 padding. `prefix_branch` (B, P) is what stands in the cache
    already. A position sees earlier ones of the prefix and of its own branch; padding sees only itself.
    """
    keys = branch if prefix_branch is None else torch.cat([prefix_branch, branch], 1)
    past = keys.shape[1] - branch.shape[1]
    order = torch.arange(keys.shape[1], device=keys.device)
    earlier = order[None, :] <= order[past:, None]  # (Q, P + Q)
    kin = (keys[:, None, :] == branch[:, :, None]) | (keys[:, None, :] == 0)
    seen = earlier & kin & (keys >= 0)[:, None, :]
    seen |= order[None, None, :] == order[None, past:, None]
    mask = torch.zeros(seen.shape, dtype=dtype, device=keys.device).masked_fill_(~seen, torch.finfo(dtype).min)
    return mask[:, None]


def branch_positions(branch: Tensor, start: int | Tensor = 0) -> Tensor:
    """Positions (B, Q) that count on within the prefix and restart behind it for every branch; `start` is already cached."""
    prefix = (branch == 0).cumsum(1)
    offset = torch.zeros_like(branch)
    index = torch.arange(branch.shape[1], device=branch.device).expand_as(branch)
    first = torch.ones_like(branch, dtype=torch.bool)
    first[:, 1:] = branch[:, 1:] != branch[:, :-1]
    begin = torch.where(first, index, torch.zeros_like(index)).cummax(1).values
    inside = index - begin
    total = prefix[:, -1:]
    offset = torch.where(branch > 0, total + inside, prefix - 1)
    return (offset + start).clamp(min=0)
