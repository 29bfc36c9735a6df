"""The endless run of samples: item i depends on (seed, i) alone, so a resumed run sees what an unbroken one would.

A worker never raises for a bad sample: what it has to say travels with the batch under the key `BAD`.
"""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from chiasm_registry.errors import ChiasmError
from torch.utils.data import DataLoader, Dataset

from .config import RunConfig
from .data import BadSample
from .packing import Packed, Unpacked, pack

BAD = "bad_samples"  # of a batch: list[BadNote], taken out before the module sees the batch
GRACE_S = 20  # that a worker goes on behind a SIGTERM
IN_A_ROW = 50  # bad samples after which even `skip` stops: then it is the set that is bad


class BadNote(NamedTuple):
    """One sample that could not be used; `fatal` if the run must stop for it."""

    sample_id: str
    fact: str
    fatal: bool


class Drawn(NamedTuple):
    """An item with the bad ones that stood before it; `usable` is false when none was found."""

    item: Any
    bad: tuple[BadNote, ...]
    usable: bool = True


class Stream(Dataset[Drawn]):
    """`dataset` with bad samples replaced by the next good one, or marked as fatal."""

    def __init__(self, dataset: Dataset[Any], on_bad: Literal["skip", "stop"]) -> None:
        self._dataset = dataset
        self._in_a_row = IN_A_ROW if on_bad == "skip" else 1

    def __getitem__(self, index: int) -> Drawn:
        bad: list[BadNote] = []
        for shift in range(self._in_a_row):
            try:
                return Drawn(self._dataset[index + shift], tuple(bad))
            except BadSample as error:
                bad.append(BadNote(error.sample_id, error.fact, fatal=shift + 1 == self._in_a_row))
            except ChiasmError as error:  # a worker would send it on with its whole traceback as the message
                return Drawn(None, (*bad, BadNote(f"item {index + shift}", str(error), fatal=True)), usable=False)
        return Drawn(None, tuple(bad), usable=False)


class Batches:
    """Which items the steps from `first` on take in process `rank` of `world`; no length, as there are no epochs."""

    def __init__(self, first: int, steps: int, batch_size: int, rank: int = 0, world: int = 1) -> None:
        self._steps = range(first, steps)
        self._batch_size, self._rank, self._world = batch_size, rank, world

    def __iter__(self) -> Iterator[list[int]]:
        for step in self._steps:
            start = (step * self._world + self._rank) * self._batch_size
            yield list(range(start, start + self._batch_size))


class Collate:
    """The builder's collate on the usable items, with the notes on bad ones beside; packed if it leaves a worker."""

    def __init__(self, collate: Callable[[list[Any]], dict[str, Any]], *, packed: bool) -> None:
        self._collate, self._packed = collate, packed

    def __call__(self, drawn: Sequence[Drawn]) -> dict[str, Any] | Packed:
        batch = self._batch(drawn)
        return pack(batch) if self._packed else batch

    def _batch(self, drawn: Sequence[Drawn]) -> dict[str, Any]:
        bad = [note for one in drawn for note in one.bad]
        if not all(one.usable for one in drawn):
            return {BAD: bad}
        return {**self._collate([one.item for one in drawn]), BAD: bad}


def loader(
    dataset: Dataset[Any], collate: Callable[[list[Any]], dict[str, Any]], run: RunConfig, batches: Batches
) -> Iterable[dict[str, Any]]:
    """The batches of a run in order; its own generator, so that making it leaves the global random state alone."""
    batches_of_items: DataLoader[Any] = DataLoader(
        Stream(dataset, run.on_bad_sample),
        batch_sampler=batches,
        collate_fn=Collate(collate, packed=run.workers > 0),
        num_workers=run.workers,
        prefetch_factor=run.prefetch if run.workers else None,
        worker_init_fn=_leave_signals_to_the_parent,
        generator=torch.Generator().manual_seed(run.seed),
    )
    return Unpacked(batches_of_items) if run.workers else batches_of_items


def to_device(value: Any, device: torch.device) -> Any:
    """`value` with every tensor in it on `device`: mappings, lists, tuples and dataclasses are entered."""
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {key: to_device(one, device) for key, one in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(to_device(one, device) for one in value))
    if isinstance(value, list | tuple):
        return type(value)(to_device(one, device) for one in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        return dataclasses.replace(value, **{name: to_device(getattr(value, name), device) for name in fields})
    return value


def _leave_signals_to_the_parent(worker: int) -> None:
    """Ctrl-C reaches every process of the terminal, SIGTERM often the whole group; only the parent decides.

    It needs its workers to finish a step before it saves. It may end them too: SIGTERM then takes effect later.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(GRACE_S) and None)
