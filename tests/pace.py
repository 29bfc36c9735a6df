"""Limits of time that mean the same on any machine: what must be quick is held against a fixed piece of work."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

REFERENCE_S = 0.03  # processor time of `_work` where the limits were set
REFERENCE_START_S = 0.14  # and of a process that imports what every command line of ours needs from others


def fastest(call: Callable[[], object], times: int = 3) -> float:
    """Least processor time of some calls, in seconds of the machine where the limits were set, or of a faster one."""
    return _least(call, times) / slower()


def slower() -> float:
    """How many times slower than there this machine is just now; at least 1."""
    return max(1.0, _least(_work, 5) / REFERENCE_S)


def start_seconds(call: Callable[[Mapping[str, str]], object], cache: str, times: int = 4) -> float:
    """Processor seconds of the processes that `call` starts, as `fastest`: the best of some times, each beside a start
    of the same kind, because a machine with a busy neighbour imports at another pace than it computes.

    `call` gets an environment in which bytecode is kept under `cache`, as that of an installed package is.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
    bare: Sequence[str] = [sys.executable, "-c", "import typer, pluggy, pydantic; pydantic.BaseModel"]
    seconds = []
    for _ in range(times + 1):  # the first writes the bytecode
        plain = _children_seconds(lambda: subprocess.run(bare, check=True, env=environment))
        own = _children_seconds(lambda: call(environment))
        seconds.append(own / max(1.0, plain / REFERENCE_START_S))
    return min(seconds[1:])


def _children_seconds(call: Callable[[], object]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    call()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _least(call: Callable[[], object], times: int) -> float:
    seconds = []
    for _ in range(times):
        started = time.process_time()
        call()
        seconds.append(time.process_time() - started)
    return min(seconds)


def _work() -> None:
    json.loads(json.dumps([{"a": number, "b": str(number)} for number in range(20_000)]))
