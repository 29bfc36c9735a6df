"""`chiasm eval --task NAME` for a task that has a metric of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .measured import Measured

if TYPE_CHECKING:
    from chiasm.evaluate.own import OwnPlan


@dataclass(frozen=True)
class Own:
    """A set of photographs with what is there, and the task that is asked for it."""

    gt: Path
    images: Path
    task: str
    limit: int | None
    absent: int
    skip_missing: bool

    def plan(self) -> OwnPlan:
        """The same with its annotations read."""
        from chiasm.evaluate.asked import read_asked
        from chiasm.evaluate.own import OwnPlan

        return OwnPlan(
            truth=read_asked(self.gt),
            images=self.images,
            limit=self.limit,
            absent=self.absent,
            skip_missing=self.skip_missing,
        )


def has_metric(task: str) -> bool:
    """Whether the task says itself what counts as right; PluginError if it fails at saying so."""
    from chiasm_registry.discovery import discover
    from chiasm_registry.errors import PluginError
    from chiasm_registry.guard import guarded

    found = discover().task(task)
    made = guarded(found.metric, f"metric() of task {task!r}", type(found).__module__)
    if made.fault is not None:
        raise PluginError(f"task {task!r} cannot be measured: its metric() failed with {made.fault}")
    return made.value is not None


def measure_own_task(asked: Own, measured: Measured) -> None:
    """Ask every photograph and print what the task makes of it."""
    from chiasm.evaluate.own import as_lines, measure_own

    from ..progress import counted

    measured.refuse_others(asked, "a task's own metric")
    plan, task = asked.plan(), asked.task
    loaded = measured.load([task])
    with counted(len(plan.truth.images[: plan.limit]), "images") as advance:
        report = measure_own(plan, loaded, loaded.table.tasks[task], advance)
    notes = [notice.text for notice in loaded.notices if notice.task in (None, task)]
    measured.tell({"model": measured.model, **report}, lambda: "\n".join(as_lines(report)), notes)
