"""How a benchmark measures and says it: calls take turns, so that a busy moment of the machine falls on all of them."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any


@dataclass(frozen=True)
class Row:
    """Seconds of one thing that was measured."""

    what: str
    median_s: float
    best_s: float
    first_s: float  # with everything cold that can be
    runs: int


def take_turns(calls: Mapping[str, Callable[[], object]], runs: int) -> list[Row]:
    """Each call once unmeasured but for `first_s`, then `runs` rounds of all of them in turn."""
    first = {what: seconds(call) for what, call in calls.items()}
    rounds = [{what: seconds(call) for what, call in calls.items()} for _ in range(runs)]
    return [
        Row(what, statistics.median(r[what] for r in rounds), min(r[what] for r in rounds), first[what], runs)
        for what in calls
    ]


def seconds(call: Callable[[], object]) -> float:
    """How long one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    packages = {name: version(name) for name in ("chiasm", "torch", "transformers")}
    return {"processor": _processor(), "cores": os.cpu_count(), "python": platform.python_version(), **packages}


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def as_json(rows: Sequence[Row], about: Mapping[str, Any]) -> str:
    """One object: `machine` and what else is said of the run, and `rows`."""
    return json.dumps({**about, "rows": [asdict(row) for row in rows]}, indent=1)


def as_text(rows: Sequence[Row], notes: Sequence[str]) -> str:
    """A table for a person, with its notes below."""
    width = max(len(row.what) for row in rows)
    lines = [f"{'':{width}}  {'median':>9}  {'best':>9}  {'first':>9}  runs"]
    lines += [
        f"{row.what:{width}}  {row.median_s:7.3f} s  {row.best_s:7.3f} s  {row.first_s:7.3f} s  {row.runs:4}"
        for row in rows
    ]
    return "\n".join([*lines, *notes])
