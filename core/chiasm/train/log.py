"""The run's log: one JSON object a line in `log.jsonl`, each with its step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chiasm_registry.errors import TrainingError

from ..files import guarded_write, write_whole

NAME = "log.jsonl"


class RunLog:
    """Appends lines; made for a run that goes on from `step`, it first drops what a killed process logged beyond it."""

    def __init__(self, out: Path, step: int = 0) -> None:
        self._path = out / NAME
        kept = [line for line in read_log(out) if line["step"] <= step]
        self._named = {line["id"] for line in kept if line["kind"] == "bad sample"}
        write_whole(self._path, "".join(json.dumps(line) + "\n" for line in kept).encode(), error=TrainingError)
        with guarded_write(self._path, TrainingError):
            self._file = self._path.open("a", encoding="utf-8")

    @property
    def bad_samples(self) -> int:
        """How many samples were found bad."""
        return len(self._named)

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Append one line."""
        with guarded_write(self._path, TrainingError):
            self._file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
            self._file.flush()

    def bad_sample(self, step: int, sample_id: str, fact: str) -> bool:
        """Name a bad sample, the first time only; True if this was the first."""
        if sample_id in self._named:
            return False
        self._named.add(sample_id)
        self.write("bad sample", step, id=sample_id, fact=fact)
        return True

    def close(self) -> None:
        self._file.close()


def read_log(out: Path) -> list[dict[str, Any]]:
    """The whole lines of a run's log; one that a kill tore is left out."""
    path = out / NAME
    if not path.exists():
        return []
    lines: list[dict[str, Any]] = []
    for text in path.read_text("utf-8", "replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int) and "kind" in line:
            lines.append(line)
    return lines
