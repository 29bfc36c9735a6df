"""Foreign code in a child process with a time limit: what no guard inside a process survives is a line here.

The child is a copy of this process (fork), in a session of its own; what it tells travels as JSON through a pipe, and
it counts as done only when it has said so itself: a process that was ended with code 0 has not.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

Tell = Callable[[Any], None]
Work = Callable[[Tell], None]

_DONE = object()
_POLL_S = 0.05
_CHUNK = 2**16


def can_fork() -> bool:
    """Whether this system can copy a process; without it foreign code runs unguarded against its death."""
    return hasattr(os, "fork")


def in_child(work: Work, limit_s: float, heard: Callable[[Any], None]) -> str | None:
    """Run `work` in a child; `heard` gets what it tells as it comes. Why it did not come to its end, or None."""
    if not can_fork():
        work(heard)
        return None
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be_the_child(work, writing)
    os.close(writing)
    try:
        return _listen(child, reading, time.monotonic() + limit_s, limit_s, heard)
    finally:
        os.close(reading)
        _end(child)


def _be_the_child(work: Work, writing: int) -> None:
    """Never returns: whatever happens in `work`, the copy of the host's own code does not go on."""
    code = 1
    try:
        os.setsid()
        os.dup2(2, 1)  # what it prints is noise
        faulthandler.disable()  # the parent tells of its death in one line
        own = os.getpid()

        def tell(value: Any) -> None:
            if os.getpid() == own:  # a copy that the plugin made of itself has nothing to say
                _write(writing, json.dumps(value).encode() + b"\n")

        work(tell)
        if os.getpid() == own:
            _write(writing, b"done\n")
        code = 0
    except BaseException as error:
        code = 130 if isinstance(error, KeyboardInterrupt) else 1
        sys.stderr.write(f"{type(error).__name__} in the child process\n")
    finally:
        os._exit(code)


def _write(writing: int, data: bytes) -> None:
    while data:
        data = data[os.write(writing, data) :]


def _listen(child: int, reading: int, deadline: float, limit_s: float, heard: Callable[[Any], None]) -> str | None:
    buffer, status, ended = b"", None, False
    while not ended and status is None:
        if time.monotonic() > deadline:
            return f"it did not come back within {limit_s:g} s, and was stopped"
        if select.select([reading], [], [], _POLL_S)[0]:
            chunk = os.read(reading, _CHUNK)
            ended, buffer = not chunk, buffer + chunk
        else:
            done, state = os.waitpid(child, os.WNOHANG)
            status = state if done else None
            buffer += _rest(reading) if done else b""  # what it said between the look at the pipe and its end
        lines, buffer = _lines(buffer)
        for line in lines:
            if line is _DONE:
                return None
            heard(line)
    if status is None:
        status = os.waitpid(child, 0)[1]
    return _death(status)


def _rest(reading: int) -> bytes:
    """What is in the pipe now."""
    rest = b""
    while select.select([reading], [], [], 0)[0] and (chunk := os.read(reading, _CHUNK)):
        rest += chunk
    return rest


def _lines(buffer: bytes) -> tuple[list[Any], bytes]:
    *whole, rest = buffer.split(b"\n")
    return [_DONE if line == b"done" else json.loads(line) for line in whole], rest


def _death(status: int) -> str:
    if os.WIFSIGNALED(status):
        return f"it was ended by the signal {signal.Signals(os.WTERMSIG(status)).name}"
    return f"it ended the process itself, with exit code {os.waitstatus_to_exitcode(status)}"


def _end(child: int) -> None:
    """The child and all that it started."""
    for end in (os.killpg, os.kill):  # its session, and itself if it has not come so far as to have one
        with contextlib.suppress(ProcessLookupError, PermissionError):
            end(child, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)


def told_by(work: Work, limit_s: float) -> tuple[list[Any], str | None]:
    """Everything that `work` tells in a child, and why it did not come to its end, or None."""
    values: list[Any] = []
    fault = in_child(work, limit_s, values.append)
    return values, fault
