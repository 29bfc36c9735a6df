"""`chiasm eval --judge` for a task that makes pictures: whether detectors name what was asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .measured import Measured

if TYPE_CHECKING:
    from chiasm.evaluate.pictures import PicturePlan


@dataclass(frozen=True)
class Pictures:
    """What is drawn, as it is typed, beside what true things, and who says what is to be seen."""

    gt: Path
    images: Path
    task: str
    names: str | None  # "bus, dog"
    seeds: int
    option: Sequence[str]  # "guidance=3"
    judge: Sequence[str]
    out: Path | None
    skip_missing: bool

    def plan(self) -> PicturePlan:
        """The same with its annotations read."""
        from chiasm.evaluate.asked import read_asked
        from chiasm.evaluate.pictures import PicturePlan

        return PicturePlan(
            truth=read_asked(self.gt),
            images=self.images,
            task=self.task,
            names=tuple(name.strip() for name in self.names.split(",")) if self.names else (),
            seeds=self.seeds,
            out=self.out,
            skip_missing=self.skip_missing,
            options=numbers(self.option),
        )


def draws(task: str | None, judges: Sequence[str]) -> bool:
    """Whether the task makes pictures; those want judges, and nothing else does."""
    from chiasm_registry.discovery import discover
    from chiasm_registry.errors import InputError

    from chiasm.evaluate.pictures import makes_pictures

    drawn = task is not None and makes_pictures(discover().task(task))
    if drawn and not judges:
        raise InputError(f"task {task!r} makes pictures: say with --judge which detector names what they show")
    if judges and not drawn:
        raise InputError("--judge names what pictures show; give with --task a task that makes pictures")
    return drawn


def numbers(given: Sequence[str]) -> dict[str, float]:
    """Options of a task as they are typed: "guidance=3"."""
    from chiasm_registry.errors import InputError, shown

    found: dict[str, float] = {}
    for text in given:
        key, _, value = text.partition("=")
        try:
            found[key] = int(value) if value.lstrip("-").isdigit() else float(value)
            if not math.isfinite(found[key]):
                raise ValueError
        except (ValueError, OverflowError):
            raise InputError(f"--option {shown(text, 40)}: write it as KEY=NUMBER, as in guidance=3") from None
    return found


def measure_pictures(asked: Pictures, measured: Measured) -> None:
    """Draw, ask the judges, and print a line a name and a judge, and how often a colour asked for is there."""
    from chiasm.evaluate.pictures import as_lines, draw_and_judge

    from ..progress import counted
    from ..start import kept_for_good

    measured.refuse_others(asked, "pictures")
    plan, device = asked.plan(), measured.device
    names = [category.name for category in plan.truth.categories]
    with kept_for_good():
        from chiasm.evaluate.judges import open_judge

        judges = [open_judge(path, names, device) for path in asked.judge]
    loaded = measured.load([plan.task])
    with counted(plan.count(), "pictures") as advance:
        report = draw_and_judge(plan, loaded, judges, advance)
    measured.tell(report, lambda: "\n".join(as_lines(report)), [notice.text for notice in loaded.notices])
