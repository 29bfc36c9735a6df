"""`chiasm eval --task NAME` for a task that has a metric of its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from .referring import Progress


def has_metric(task: str | None) -> bool:
    """Whether the task says itself what counts as right."""
    from chiasm_registry.discovery import discover
    from chiasm_registry.guard import guarded

    if task is None:
        return False
    found = discover().task(task)
    return guarded(found.metric, f"the metric of task {task!r}", type(found).__module__).value is not None


def measure_own_task(
    chosen: tuple[Path, Path, int | None, int, bool],
    task: str | None,
    model: str,
    device: str,
    tasks_from: Sequence[Path] | None,
    as_json: bool,
    progress: Progress,
) -> None:
    """Ask every photograph and print what the task makes of it."""
    import json

    import chiasm
    from chiasm.evaluate.coco import read_coco
    from chiasm.evaluate.own import OwnPlan, as_lines, measure_own

    from .start import kept_for_good

    assert task is not None  # it has a metric
    gt, images, limit, absent, skip_missing = chosen
    plan = OwnPlan(read_coco(gt), images, limit, absent, skip_missing)
    with kept_for_good():
        loaded = chiasm.load(model, device=device, tasks=[task], tasks_from=tasks_from or ())
    with progress(len(plan.truth.images[: plan.limit])) as advance:
        report = measure_own(plan, loaded, loaded.table.tasks[task], advance)
    for notice in loaded.notices:
        if notice.task in (None, task):
            typer.echo(f"chiasm: {notice.text}", err=True)
    typer.echo(json.dumps({"model": model, **report}) if as_json else "\n".join(as_lines(report)))
