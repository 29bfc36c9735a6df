"""Weights for each task: a file of the caller's, else the model folder's, else one that comes with the plugin.

A file fits by its task, token and shapes, by the versions that the plugin reads (`TaskSpec.weights_of`), and by the
core it was trained on: a decoder that learned on another core's maps would answer, and wrongly.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from chiasm_registry import CheckpointError, ChiasmError, InputError, Task, TaskSpec, TaskTable
from chiasm_registry.errors import shown, shown_path
from chiasm_registry.guard import guarded

from .checkpoint import Checkpoint, TaskFile, read_task_file
from .options import listed, told
from .routing.network import Network
from .weights import fill_row, fill_task, start_tasks


@dataclass
class Filled:
    """What came of it, by task: why some have no weights, and what a person should know of others."""

    untrained: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def given_files(paths: Sequence[str | os.PathLike[str]], table: TaskTable) -> dict[str, TaskFile]:
    """The task files of the caller; each is for another of the loaded tasks."""
    files: dict[str, TaskFile] = {}
    for path in listed(paths, "tasks_from"):
        if not isinstance(path, (str, os.PathLike)):
            raise InputError(f"tasks_from must hold paths, not {told(path)}")
        file, where = read_task_file(path), shown_path(path)
        if file.name in files:
            raise CheckpointError(f"two task files for {file.name!r}; give one")
        if file.name not in table.tasks:
            loaded = ", ".join(table.tasks) or "none"
            raise CheckpointError(f"{where} is for the task {file.name!r}, which is not loaded; loaded: {loaded}")
        files[file.name] = file
    return files


def fill_tasks(network: Network, table: TaskTable, checkpoint: Checkpoint, given: Mapping[str, TaskFile]) -> Filled:
    """Weights into every task that has some. A file that the caller gave must fit, or it is a `CheckpointError`."""
    filled = Filled()
    core = checkpoint.manifest.core_id
    start_tasks(network, list(table.tasks))
    for name in checkpoint.tasks.keys() - table.tasks.keys():  # what it means by them it can say
        with suppress(CheckpointError):  # nobody asked for it
            fill_row(network.rows.row(name), checkpoint.tasks[name])
    for name, task in table.tasks.items():
        file, fault = given.get(name) or checkpoint.tasks.get(name), checkpoint.faults.get(name)
        if file is None and fault is None:
            if not task.spec.learns:
                continue
            file, fault = _shipped(task, core)
        if file is not None:
            fault = _misfit(file, task.spec) or _fill(network, file, type(task).__module__)
        if fault is not None and name in given:
            raise CheckpointError(f"task {name!r}: {fault}")
        if fault is not None:
            filled.untrained[name] = f"task {name!r} is untrained: {fault}"
        elif file is not None and core and file.core not in ("", core):
            cure = f"`chiasm train --task {name}` trains it on this one"
            filled.notes[name] = f"task {name!r} has weights that were trained on another core; {cure}"
    return filled


def _shipped(task: Task, core: str) -> tuple[TaskFile | None, str | None]:
    """The plugin's own file for this core, or why there is none."""
    name, home = task.spec.name, type(task).__module__
    outcome = guarded(lambda: [os.fspath(path) for path in task.weights()], f"the weights of task {name!r}", home)
    if outcome.value is None:
        return None, f"its weights() failed: {shown(outcome.fault, 120)}"
    if not outcome.value:
        return None, "the checkpoint has no weights for it"
    for path in outcome.value:
        try:
            file = read_task_file(path)
        except ChiasmError as error:
            return None, f"a file of its package cannot be used: {shown(error, 160)}"
        if core and file.name == name and file.core == core:
            return file, None
    return None, f"its package has weights for other models alone; `chiasm train --task {name}` makes some for this one"


def _misfit(file: TaskFile, spec: TaskSpec) -> str | None:
    """Why a file is not for this version of the task."""
    from packaging.specifiers import SpecifierSet

    if file.token != spec.token:
        return f"its file has the token {file.token}, the task {spec.token}; take its own version"
    if spec.weights_of and not SpecifierSet(spec.weights_of).contains(file.version, prereleases=True):
        asked = shown(repr(spec.weights_of), 40)
        return f"its file is of version {shown(file.version, 20)}, the installed one reads {asked}; train it again"
    return None


def _fill(network: Network, file: TaskFile, home: str) -> str | None:
    """Why the task's weights cannot be taken; a decoder may have its own ways of being read and written."""
    return guarded(lambda: fill_task(network, file), f"the loading of task {file.name!r}", home).fault
