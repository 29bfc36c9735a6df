"""`chiasm eval --referring`: phrases with masks, gIoU and cIoU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .measured import Measured


@dataclass(frozen=True)
class Referrals:
    """A file of phrases with masks, its photographs, and the task that is to show what they mean."""

    referring: Path
    images: Path
    task: str
    limit: int | None
    alone: bool  # the phrase goes to the task alone, and not first to those it comes after
    skip_missing: bool

    def tasks(self) -> tuple[str, ...]:
        """The tasks a phrase is asked of, in order."""
        from chiasm_registry.discovery import discover

        known = discover()
        before = () if self.alone else known.task(self.task).spec.after
        return (*(name for name in before if name in known.tasks), self.task)


def measure_referrals(asked: Referrals, measured: Measured) -> None:
    """Ask every phrase of the file of its photograph and say how well the masks fit."""
    from chiasm.evaluate.referring import as_text, measure_referring, read_referring

    from ..progress import counted

    measured.refuse_others(asked, "phrases")
    tasks, truth = asked.tasks(), read_referring(asked.referring)
    loaded = measured.load(tasks)
    with counted(len(truth.images[: asked.limit]), "images") as advance:
        report = measure_referring(
            loaded, truth, asked.images, tasks, limit=asked.limit, skip_missing=asked.skip_missing, advance=advance
        )
    measured.tell(report, lambda: as_text(report), [notice.text for notice in loaded.notices])
