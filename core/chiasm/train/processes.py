"""What the processes of `torchrun` tell each other; with one process each of these is the plain value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from chiasm_registry.errors import TrainingError

Value = TypeVar("Value")


def world() -> tuple[int, int]:
    """Rank of this process and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_available() and dist.is_initialized() else (0, 1)


def any_of(flags: list[bool], device: torch.device) -> list[bool]:
    """Each flag, true if it is true in some process."""
    if world()[1] == 1:
        return flags
    shared = torch.tensor(flags, dtype=torch.int32, device=device)
    dist.all_reduce(shared, op=dist.ReduceOp.MAX)
    return [bool(flag) for flag in shared.tolist()]


def all_of(value: Value) -> list[Value]:
    """The plain values of all processes by rank."""
    if world()[1] == 1:
        return [value]
    values: list[Any] = [None] * world()[1]
    dist.all_gather_object(values, value)
    return values


def first_does(work: Callable[[], Value]) -> Value:
    """What `work` gives in the first process; its TrainingError is raised in all of them."""
    rank, count = world()
    if count == 1:
        return work()
    box: list[Any] = [None, None]
    if rank == 0:
        try:
            box[0] = work()
        except TrainingError as error:
            box[1] = str(error)
    dist.broadcast_object_list(box, src=0)
    if box[1] is not None:
        raise TrainingError(box[1])
    done: Value = box[0]
    return done


def leave_world() -> None:
    """Close the group that this process joined, if it did; without it the others' sockets are cut off at exit."""
    if world()[1] > 1:
        dist.destroy_process_group()
