"""`chiasm eval --task NAME` for a task that has a metric of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .referring import Progress

if TYPE_CHECKING:
    from chiasm.evaluate.own import OwnPlan


def has_metric(task: str | None) -> bool:
    """Whether the task says itself what counts as right."""
    from chiasm_registry.discovery import discover
    from chiasm_registry.guard import guarded

    if task is None:
        return False
    found = discover().task(task)
    return guarded(found.metric, f"the metric of task {task!r}", type(found).__module__).value is not None


def measure(
    plan: OwnPlan, task: str, model: str, device: str, tasks_from: Sequence[Path], *, as_json: bool, progress: Progress
) -> None:
    """Ask every photograph and print what the task makes of it."""
    import json

    import chiasm
    from chiasm.evaluate.own import as_lines, measure_own

    from .start import kept_for_good

    with kept_for_good():
        loaded = chiasm.load(model, device=device, tasks=[task], tasks_from=tasks_from)
    with progress(len(plan.truth.images[: plan.limit])) as advance:
        report = measure_own(plan, loaded, loaded.table.tasks[task], advance)
    for notice in loaded.notices:
        if notice.task in (None, task):
            typer.echo(f"chiasm: {notice.text}", err=True)
    typer.echo(json.dumps({"model": model, **report}) if as_json else "\n".join(as_lines(report)))
