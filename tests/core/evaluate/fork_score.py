"""Runs `chiasm score` once for each job, in a fork of its own with a time limit; not a test, started by one."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

LIMIT_S = 30.0


def main() -> None:
    sys.path[:], jobs = json.load(sys.stdin)
    import chiasm.evaluate.score  # noqa: F401  # once here, for every fork
    import chiasm_registry.rle
    import numpy as np
    from chiasm.cli.errors import guarded
    from chiasm.cli.options import IouType
    from chiasm.cli.score import command

    assert np.zeros(1).sum() == 0
    folder, outcomes = Path(sys.argv[1]), {}
    for name, gt, dt, iou_type in jobs:
        child = os.fork()
        if child == 0:
            for number, stream in ((1, "stdout"), (2, "stderr")):
                os.dup2(os.open(folder / stream, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            status = 1
            try:
                status = guarded(lambda: command(Path(gt), Path(dt), IouType(iou_type), True))  # noqa: B023
                sys.stdout.flush()
            finally:
                os._exit(status)
        outcomes[name] = {"status": _wait(child), **{s: (folder / s).read_text() for s in ("stdout", "stderr")}}
    assert chiasm_registry.rle
    json.dump(outcomes, sys.stdout)


def _wait(child: int) -> int | str:
    """The exit status, "signal n" or "hung"."""
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else f"signal {os.WTERMSIG(status)}"
        time.sleep(0.003)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return "hung"


if __name__ == "__main__":
    main()
