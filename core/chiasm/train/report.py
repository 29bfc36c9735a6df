"""What a run tells a person: its progress on stderr, and at the end a few lines and `report.json`."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chiasm_registry.errors import TrainingError

from ..files import write_json

NAME = "report.json"


class Progress:
    """A bar on a terminal, else one line each time the log is written; silent in all processes but the first."""

    def __init__(self, steps: int, done: int, *, quiet: bool) -> None:
        self._steps, self._done, self._begun = steps, done, time.perf_counter()
        self._first, self._quiet, self._bar = done, quiet, None
        if not quiet and sys.stderr.isatty():
            self._bar = self._make_bar()

    def _make_bar(self) -> Any:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        bar = Progress(
            TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False), console=Console(stderr=True), refresh_per_second=4,
        )
        self._task = bar.add_task("", total=self._steps, completed=self._done, note="")
        bar.start()
        return bar

    def step(self, done: int) -> None:
        """`done` steps are behind us."""
        self._done = done
        if self._bar is not None:
            self._bar.update(self._task, completed=done)

    def note(self, values: Mapping[str, float]) -> None:
        """Show the figures of a log line."""
        text = f"loss {values['loss']:.4g}  lr {values['lr']:.3g}  {values['images_per_s']:.1f} images/s"
        if self._bar is not None:
            self._bar.update(self._task, note=text)
        elif not self._quiet:
            pace = (time.perf_counter() - self._begun) / max(1, self._done - self._first)
            left = round(pace * (self._steps - self._done))
            self.say(f"step {self._done}/{self._steps}  {text}  {left // 60}:{left % 60:02d} left")

    def say(self, text: str) -> None:
        """One line for the person who watches."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        elif not self._quiet:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()


def write_report(out: Path, report: Mapping[str, Any]) -> None:
    """Write `report.json`."""
    write_json(out / NAME, dict(report), error=TrainingError)


def report_lines(report: Mapping[str, Any]) -> list[str]:
    """The report for a person."""
    minutes, seconds = divmod(round(report["seconds"]), 60)
    begun = f" (from step {report['resumed_from']})" if report["resumed_from"] else ""
    lines = [
        f"{report['steps']} of {report['planned_steps']} steps{begun} in {minutes}:{seconds:02d}, "
        f"{report['images_per_s']:.1f} images/s on {report['device']} in {report['precision']}",
        "  ".join(f"{name} {value:.4g}" for name, value in report["losses"].items()),
    ]
    if report["bad_samples"]:
        lines.append(f"{report['bad_samples']} bad samples skipped; the log names each")
    lines.append(f"model: {report['model']}")
    return [line for line in lines if line]
