"""Which process of how many this is, as torchrun and `accelerate launch` say it; the only reader of those variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from chiasm_registry.errors import InputError


@dataclass(frozen=True)
class Ranks:
    """This process among `world`; `local` counts on this machine."""

    rank: int = 0
    world: int = 1
    local: int = 0

    def device(self, wanted: str) -> str:
        """A device of its own for each process when just "cuda" is asked for."""
        return f"cuda:{self.local}" if wanted == "cuda" and self.world > 1 else wanted


def read_ranks(environment: Mapping[str, str] | None = None) -> Ranks:
    """The launcher's numbers; one process when there is no launcher."""
    env = os.environ if environment is None else environment
    try:
        ranks = Ranks(int(env.get("RANK", 0)), int(env.get("WORLD_SIZE", 1)), int(env.get("LOCAL_RANK", 0)))
    except ValueError:
        raise InputError("RANK, WORLD_SIZE and LOCAL_RANK must be whole numbers; start with torchrun") from None
    if not 0 <= ranks.rank < ranks.world:
        raise InputError(f"RANK {ranks.rank} does not fit WORLD_SIZE {ranks.world}; start with torchrun")
    return ranks


def gather(answers: dict[int, Any], ranks: Ranks) -> dict[int, Any] | None:
    """All processes' answers in the first one, None in the others; waits for the slowest."""
    if ranks.world == 1:
        return answers
    from torch import distributed

    distributed.init_process_group("gloo", rank=ranks.rank, world_size=ranks.world, timeout=timedelta(days=2))
    try:
        parts: list[Any] | None = [None] * ranks.world if ranks.rank == 0 else None
        distributed.gather_object(answers, parts, dst=0)
        distributed.barrier()
    finally:
        distributed.destroy_process_group()
    return None if parts is None else {key: value for part in parts for key, value in part.items()}
