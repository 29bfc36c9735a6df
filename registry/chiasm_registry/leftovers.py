"""What foreign code can leave behind in the process: counted before it runs, compared behind it, and not ended."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_FDS = Path("/proc/self/fd")
_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")


class Leftovers:
    """What was there at the moment of its making."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._files = set(_open_files())
        self._children = {child.pid for child in multiprocessing.active_children()}
        self._hooks = set(_module_hooks())

    def new(self) -> tuple[str, ...]:
        """What is there now and was not then, each in a few words."""
        return tuple(self._new())

    def _new(self) -> Iterator[str]:
        for thread in set(threading.enumerate()) - self._threads:
            yield f"a thread ({type(thread).__name__})"
        for number, target in sorted(set(_open_files()) - self._files):
            yield f"an open file ({os.path.basename(target) or number})"
        if {child.pid for child in multiprocessing.active_children()} - self._children:
            yield "a child process"
        if set(_module_hooks()) - self._hooks:
            yield "a hook on all modules of torch"


def _open_files() -> Iterator[tuple[int, str]]:
    """Descriptors of this process with what they point to, where the system tells."""
    try:
        numbers = os.listdir(_FDS)
    except OSError:
        return
    for number in numbers:
        try:
            yield int(number), os.readlink(_FDS / number)
        except OSError:  # the one of the listing itself is closed by now
            continue


def _module_hooks() -> Iterator[tuple[str, int]]:
    modules: Any = sys.modules.get("torch.nn.modules.module")
    for name in _HOOKS if modules is not None else ():
        yield from ((name, key) for key in getattr(modules, name, {}))
