"""The tasks of one model in a stable order, never changed; built whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from pydantic import ValidationError

from .errors import CheckpointError, PluginError, shown
from .outputs import Output
from .spec import TaskSpec
from .task import Task


class StoredTask(Protocol):
    """A task as a checkpoint's manifest keeps it."""

    @property
    def name(self) -> str: ...

    @property
    def token(self) -> str: ...

    @property
    def embeddings(self) -> int: ...


@dataclass(frozen=True)
class TableEntry:
    """One place of the table. `task` is None where the checkpoint knows a task that is not loaded."""

    spec: TaskSpec
    task: Task | None
    stored: bool = False  # the checkpoint knows it

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def token(self) -> str:
        return self.spec.token


@dataclass(frozen=True)
class TaskTable:
    """Tasks by name and by token: those of the checkpoint in its order, then new ones by name."""

    entries: tuple[TableEntry, ...]

    @classmethod
    def build(cls, tasks: Iterable[Task], stored: Sequence[StoredTask] = ()) -> TaskTable:
        """The table of `tasks` over a checkpoint's `stored` ones, or an error that names what does not go together."""
        loaded = _unique([TableEntry(task.spec, task) for task in tasks], PluginError)
        places = [_stored_entry(place, loaded.pop(place.name, None)) for place in stored]
        entries = (*places, *(loaded[name] for name in sorted(loaded)))
        _unique(entries, CheckpointError)
        _refuse_circles({entry.name: entry.spec.after for entry in entries})
        return cls(entries)

    @cached_property
    def _names(self) -> Mapping[str, TableEntry]:
        return {entry.name: entry for entry in self.entries}

    @cached_property
    def _tokens(self) -> Mapping[str, TableEntry]:
        return {entry.token: entry for entry in self.entries}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.entries)

    @property
    def tokens(self) -> tuple[str, ...]:
        return tuple(entry.token for entry in self.entries)

    @property
    def specs(self) -> tuple[TaskSpec, ...]:
        return tuple(entry.spec for entry in self.entries)

    @property
    def tasks(self) -> Mapping[str, Task]:
        """The loaded tasks by name."""
        return {entry.name: entry.task for entry in self.entries if entry.task is not None}

    def by_name(self, name: str) -> TableEntry:
        """The place of a task, loaded or not."""
        if name not in self._names:
            raise PluginError(f"no task {shown(repr(name), 40)} in this model; it has {shown(list(self.names))}")
        return self._names[name]

    def by_token(self, token: str) -> TableEntry:
        """The place of a routing token, its task loaded or not."""
        if token not in self._tokens:
            raise PluginError(f"no routing token {shown(repr(token), 40)}; this model has {shown(list(self.tokens))}")
        return self._tokens[token]


def _unique(entries: Sequence[TableEntry], error: type[PluginError | CheckpointError]) -> dict[str, TableEntry]:
    names: dict[str, TableEntry] = {}
    tokens: dict[str, TableEntry] = {}
    for entry in entries:
        if entry.name in names:
            raise error(f"two tasks are called {entry.name!r}; load one of them")
        if entry.token in tokens:
            first = tokens[entry.token].name
            raise error(f"tasks {first!r} and {entry.name!r} both claim the token {entry.token}; load one of them")
        names[entry.name] = tokens[entry.token] = entry
    return names


def _stored_entry(place: StoredTask, loaded: TableEntry | None) -> TableEntry:
    if loaded is None:
        return TableEntry(_absent_spec(place), None, stored=True)
    here, there = (loaded.spec.token, loaded.spec.embeddings), (place.token, place.embeddings)
    if here != there:
        raise CheckpointError(
            f"task {loaded.name!r} is installed with token {here[0]} and {here[1]} embeddings, the checkpoint has "
            f"{shown(there[0], 40)} and {shown(there[1], 20)}; install the version it was trained with"
        )
    return TableEntry(loaded.spec, loaded.task, stored=True)


def _absent_spec(place: StoredTask) -> TaskSpec:
    try:
        return TaskSpec(
            name=place.name, token=place.token, embeddings=place.embeddings, output=Output, summary="not loaded"
        )
    except ValidationError:
        raise CheckpointError(f"the checkpoint's task {shown(repr(place.name), 40)} has no valid declaration") from None


def circles(after: Mapping[str, Sequence[str]]) -> list[str]:
    """The tasks that wait for themselves by what they come `after`, sorted."""

    def behind(name: str) -> set[str]:
        found: set[str] = set()
        todo = [name]
        while todo:
            new = {first for first in after[todo.pop()] if first in after} - found
            found |= new
            todo += new
        return found

    return sorted(name for name in after if name in behind(name))


def _refuse_circles(after: Mapping[str, Sequence[str]]) -> None:
    if waiting := circles(after):
        raise PluginError(f"the tasks {shown(waiting)} wait for each other in `after`; leave one of them out")
