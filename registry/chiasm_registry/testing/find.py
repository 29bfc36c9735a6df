"""From a name or an object to the bench on which the task is tried."""

from __future__ import annotations

from typing import Any

from ..discovery import discover
from ..task import Task
from .bench import Bench


def bench_of(task: str | Task, **more: Any) -> Bench:
    """The bench of a task by its name, or of a task that was made here; `more` goes to `Bench`."""
    if isinstance(task, Task):
        return Bench(task, module=type(task).__module__, **more)
    catalog = discover()
    found = catalog.task(task)
    (home,) = [info for info in catalog.plugins if info.status == "ok" and task in info.tasks]
    return Bench(found, module=home.module, attribute=home.attribute, path=home.path, **more)
