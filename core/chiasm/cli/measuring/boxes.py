"""`chiasm eval` on boxes and masks: COCO's twelve figures and a table of categories."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from ..options import IouType
from .measured import Measured

if TYPE_CHECKING:
    from chiasm.evaluate.run import Plan


class Mode(StrEnum):
    """Who says the names."""

    guided = "guided"
    free = "free"


@dataclass(frozen=True)
class Boxes:
    """A set of photographs with what is there, and how its names are asked for."""

    gt: Path
    images: Path
    task: str | None
    iou_type: IouType
    mode: Mode
    batch_size: int
    limit: int | None
    out: Path | None
    prompts: Path | None
    skip_missing: bool

    def plan(self) -> Plan:
        """The same with its annotations read; without a task those that the overlap needs."""
        from chiasm.evaluate.asked import read_asked
        from chiasm.evaluate.run import Plan

        fitting = ("detection",) if self.iou_type is IouType.bbox else ("detection", "segmentation")
        return Plan(
            truth=read_asked(self.gt),
            images=self.images,
            mode=self.mode.value,
            tasks=(self.task,) if self.task else fitting,
            iou_type=self.iou_type.value,
            batch_size=self.batch_size,
            limit=self.limit,
            out=self.out,
            prompts=self.prompts,
            skip_missing=self.skip_missing,
        )


def measure_boxes(asked: Boxes, measured: Measured) -> None:
    """Ask every photograph, score the answers and print what `asked` is about."""
    from chiasm_registry.errors import InputError

    from chiasm.evaluate.ranks import read_ranks
    from chiasm.evaluate.report import as_text
    from chiasm.evaluate.run import Evaluation

    from ..progress import counted

    if asked.mode is Mode.guided and asked.prompts is not None:
        raise InputError("--prompts are ways of asking in words; give --mode free with them, or leave them out")
    measured.refuse_others(asked, "boxes and masks")
    plan, ranks = replace(asked.plan(), tasks_from=measured.tasks_from), read_ranks()
    evaluation = Evaluation(plan, measured.model, ranks)
    loaded = measured.load(device=ranks.device(measured.device))
    with counted(len(evaluation.todo), "images", shown=ranks.rank == 0) as advance:
        outcome = evaluation.run(loaded, advance)
    if outcome is None:
        return
    report, scores = outcome.report, outcome.scores
    notes = [*(notice.text for notice in loaded.notices), *outcome.notes]
    measured.tell(report, lambda: as_text(report, scores), notes)
