"""What foreign code can leave behind in the process: counted before it runs, compared behind it, and not ended.

Other threads of the host go on meanwhile: only threads that run the foreign package's code, and regular files, count.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

_FDS = "/proc/self/fd"
_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")


class Leftovers:
    """What was there at the moment of its making; `home` is the module of the code that will run."""

    def __init__(self, home: str) -> None:
        self._package = home.split(".")[0]
        self._threads = set(threading.enumerate())
        self._files = set(_open_files())
        self._children = set(_children())
        self._hooks = set(_module_hooks())

    def new(self) -> tuple[str, ...]:
        """What is there now and was not then, each in a few words."""
        return tuple(self._new())

    def _new(self) -> Iterator[str]:
        for thread in threading.enumerate():
            if thread not in self._threads and self._runs_in(thread):
                yield "a running thread"
        for path in sorted(set(_open_files()) - self._files):
            yield f"an open file ({os.path.basename(path)})"
        if set(_children()) - self._children:
            yield "a child process"
        if set(_module_hooks()) - self._hooks:
            yield "a hook on all modules of torch"

    def _runs_in(self, thread: threading.Thread) -> bool:
        """Whether the thread's code, or what it was started with, is of the package."""
        target: Any = getattr(thread, "_target", None)
        if str(getattr(target, "__module__", "")).split(".")[0] == self._package:
            return True
        frame: FrameType | None = sys._current_frames().get(thread.ident or 0)
        while frame is not None:
            if str(frame.f_globals.get("__name__", "")).split(".")[0] == self._package:
                return True
            frame = frame.f_back
        return False


def _open_files() -> Iterator[str]:
    """Paths of the regular files that this process holds open, where the system tells."""
    try:
        numbers = os.listdir(_FDS)
    except OSError:
        return
    for number in numbers:
        try:
            path = os.readlink(f"{_FDS}/{number}")
        except OSError:  # the one of the listing itself is closed by now
            continue
        if path.startswith("/") and not path.startswith(("/dev/", "/proc/", "/memfd:")):
            yield path


def _children() -> Iterable[int]:
    """Processes that multiprocessing started; in a host that never imported it there is none."""
    module: Any = sys.modules.get("multiprocessing")
    return () if module is None else (child.pid for child in module.active_children())


def _module_hooks() -> Iterator[tuple[str, int]]:
    modules: Any = sys.modules.get("torch.nn.modules.module")
    for name in _HOOKS if modules is not None else ():
        yield from ((name, key) for key in getattr(modules, name, {}))
