"""What is fed to the language model: ids of the whole space, and which positions belong to which branch.

A sequence is a prefix that every branch sees, followed by branches that see the prefix and themselves (in training also
ones that stand alone). A plain conversation is a prefix alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .rows import Rows

ALONE = -2  # as a parent: the branch has a beginning of its own and does not see the prefix


@dataclass(frozen=True)
class Markers:
    """Ids of the control tokens that frame a phrase, end an answer and hold images."""

    ref: int
    unref: int
    end: int
    image: int
    box: int | None = None  # for models that write boxes as text, between these two
    unbox: int | None = None


def branch_ids(phrase: Sequence[int], tasks: Sequence[str], rows: Rows, markers: Markers) -> list[int]:
    """`<ref>phrase</ref>` and, for each task, its token with its slots behind it."""
    ids = [markers.ref, *phrase, markers.unref]
    for task in tasks:
        ids += [rows.token_id(task), *rows.slot_ids(task)]
    return ids


def branch_mask(
    branch: Tensor,
    prefix_branch: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    *,
    parent: Tensor | None = None,
) -> Tensor:
    """The additive mask (B, 1, Q, P + Q) of sequences whose positions carry branch numbers.

    `branch` (B, Q): 0 the prefix, k > 0 the k-th branch, -1 padding. `prefix_branch` (B, P) is what stands in the cache
    already. `parent` (B, Q) is the branch that a position's own branch grows from (0: from the prefix itself; `ALONE`:
    from nothing). A position sees earlier ones of the prefix, of the parent and of its own branch; padding sees only
    itself, a branch that is alone only its own.
    """
    keys = branch if prefix_branch is None else torch.cat([prefix_branch, branch], 1)
    past = keys.shape[1] - branch.shape[1]
    order = torch.arange(keys.shape[1], device=keys.device)
    earlier = order[None, :] <= order[past:, None]  # (Q, P + Q)
    kin = keys[:, None, :] == 0
    if parent is not None:
        kin = (kin & (parent >= 0)[:, :, None]) | (keys[:, None, :] == parent[:, :, None])
    kin = kin | (keys[:, None, :] == branch[:, :, None])
    seen = earlier & kin & (keys >= 0)[:, None, :]
    seen |= order[None, None, :] == order[None, past:, None]
    mask = torch.zeros(seen.shape, dtype=dtype, device=keys.device).masked_fill_(~seen, torch.finfo(dtype).min)
    return mask[:, None]


def branch_positions(branch: Tensor, start: int = 0, *, parent: Tensor | None = None) -> Tensor:
    """Positions (B, Q): a branch counts on from the end of what it grows from; `start` positions are cached already."""
    own = torch.cat([torch.ones_like(branch[:, :1], dtype=torch.bool), branch[:, 1:] != branch[:, :-1]], 1)
    index = torch.arange(branch.shape[1], device=branch.device).expand_as(branch)
    inside = index - torch.where(own, index, 0).cummax(1).values
    stem = (branch == 0).sum(1, keepdim=True) * (branch > 0)
    if parent is not None:
        stem = stem * (parent >= 0) + ((branch[:, None, :] == parent[:, :, None]) & (parent > 0)[:, :, None]).sum(2)
    return inside + stem + start


def prompt_positions(
    ids: Sequence[int], image: int, places: Sequence[Tensor | None], start: int = 0
) -> tuple[Tensor, int]:
    """Positions (A, L) of a prompt whose images have these places, and the next one; A is 1 where no image has any.

    `places` are those of the images in their order, (A, M) each; `start` is the first position.
    """
    axes = next((own.shape[0] for own in places if own is not None), 1)
    if axes == 1:
        return torch.arange(start, start + len(ids))[None], start + len(ids)
    parts: list[Tensor] = []
    rest, at = iter(places), 0
    while at < len(ids):
        if ids[at] == image and (own := next(rest)) is not None:
            parts.append(own + start)
            start += int(own.max()) + 1
            at += own.shape[1]
        else:
            parts.append(torch.full((axes, 1), start))
            start, at = start + 1, at + 1
    return torch.cat(parts, 1), start
