"""A model's folder with more tasks: files of tasks that were trained alone take their places behind the others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from chiasm_registry.errors import CheckpointError, shown_path

from .read import read_checkpoint
from .taskfile import read_task_file
from .write import write_again

SHARD_BYTES = 12 * 2**20  # files that a repository and a slow line can take


def add_tasks(
    source: str | os.PathLike[str], files: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]
) -> tuple[str, ...]:
    """Write to `out` the model in the folder `source` with the tasks of `files`; the names of all its tasks.

    A task that the model has already keeps its place. Refused, as a `CheckpointError`: a file of another core.
    """
    if Path(source).resolve() == Path(out).resolve():
        raise CheckpointError(f"'{shown_path(out)}' is the model itself; name another folder to write to")
    base = read_checkpoint(source)
    tasks = dict(base.tasks)
    places = {entry.name: entry.order for entry in base.manifest.tasks}
    for path in files:
        file = read_task_file(path)
        if file.core not in ("", base.manifest.core_id):
            raise CheckpointError(f"'{shown_path(path)}' was trained on another core; train the task on this one")
        places.setdefault(file.name, max(places.values(), default=-1) + 1)
        tasks[file.name] = replace(file, order=places[file.name])
    write_again(out, replace(base, tasks=tasks), max_shard_bytes=SHARD_BYTES)
    return tuple(sorted(places, key=lambda name: places[name]))
