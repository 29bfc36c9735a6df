"""One run a folder: a lock file that names its process; the lock of a process that is gone is taken over."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chiasm_registry.errors import TrainingError, shown, shown_path

from ..files import guarded_write

NAME = "run.lock"


@contextmanager
def run_lock(out: Path) -> Iterator[None]:
    """Hold `out` for this process, or TrainingError naming the process that holds it."""
    path = out / NAME
    me = _process(os.getpid())
    with guarded_write(path, TrainingError), path.open("a+", encoding="utf-8") as file:
        # The system's lock only guards the lines here: workers inherit open files and outlive a killed parent.
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        _refuse_living(file.read(), out)
        file.truncate(0)
        json.dump(me, file)
    try:
        yield
    finally:
        if os.getpid() == me["pid"]:  # not in a forked child; emptied, not deleted: another process may hold it open
            path.write_text("", "utf-8")


def _refuse_living(text: str, out: Path) -> None:
    try:
        holder = json.loads(text)
        host, pid, begun = str(holder["host"]), int(holder["pid"]), holder["begun"]
    except (ValueError, KeyError, TypeError):
        return  # empty, or torn by a crash: nobody's
    if host != socket.gethostname():
        raise TrainingError(f"{shown_path(out, 60)} is in use on {shown(host, 30)}; if it is not, delete {NAME} there")
    if pid != os.getpid() and begun is not None and _process(pid)["begun"] == begun:
        raise TrainingError(f"{shown_path(out, 90)} is in use by process {pid}; wait for it or take another --out")


def _process(pid: int) -> dict[str, Any]:
    """Who a process is: ids are used again, so the time it began belongs to it; None once it is gone."""
    begun: str | None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        begun = None if fields[0] in "ZX" else fields[19]
    except OSError:
        begun = "unknown" if not Path("/proc").is_dir() and _answers(pid) else None
    return {"host": socket.gethostname(), "pid": pid, "begun": begun}


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
