"""Limits of time that mean the same on any machine: what must be quick is held against a fixed piece of work."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

REFERENCE_S = 0.03  # processor time of `_work` where the limits were set


def fastest(call: Callable[[], object], times: int = 3) -> float:
    """Least processor time of some calls, in seconds of the machine where the limits were set, or of a faster one."""
    return _least(call, times) / slower()


def slower() -> float:
    """How many times slower than there this machine is just now; at least 1."""
    return max(1.0, _least(_work, 5) / REFERENCE_S)


def _least(call: Callable[[], object], times: int) -> float:
    seconds = []
    for _ in range(times):
        started = time.process_time()
        call()
        seconds.append(time.process_time() - started)
    return min(seconds)


def _work() -> None:
    json.loads(json.dumps([{"a": number, "b": str(number)} for number in range(20_000)]))
