"""Foreign code run so that it cannot take the host along: its faults become one line, its traces are removed.

What no guard inside a process can stop: os._exit, a crash of native code, a call that never returns (it is named in
the log while it hangs).
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Generic, TypeVar

from pydantic import ValidationError

from .errors import ChiasmError, PluginError, shown
from .leftovers import Leftovers
from .state import Snapshot

T = TypeVar("T")

LOG = logging.getLogger("chiasm.plugins")

# The state compared is the process's own: two guarded calls at once could not be told apart.
_ONE_AT_A_TIME = threading.RLock()
PATIENCE_S = 0.5  # before a waiting thread looks whether it waits for itself


@dataclass(frozen=True)
class _Running:
    """A guarded call while it runs."""

    what: str
    package: str
    thread: int
    threads: frozenset[threading.Thread]  # those that were there before it; a number may be used again


_RUNNING: list[_Running] = []  # at most one: the call that has the lock


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What came of a guarded call: a value, or the fault in one line."""

    value: T | None
    fault: str | None
    changed: tuple[str, ...]  # names of process-wide state that the call had changed; all of it is put back
    seconds: float
    error: BaseException | None = None  # behind the fault
    left: tuple[str, ...] = ()  # what it left behind in the process


def guarded(call: Callable[[], T], what: str, home: str, time_limit_s: float | None = None) -> Outcome[T]:
    """Run foreign code of the module `home`; only KeyboardInterrupt comes through. `what` names it in the log."""
    value, fault, raised = None, None, None
    with _alone(what, home), _watched(what, time_limit_s):
        before, there, own = Snapshot(), Leftovers(home), os.getpid()
        started = time.perf_counter()
        try:
            with _silent():
                value = call()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            fault, raised = fault_text(error, home), error
            LOG.debug("%s failed", what, exc_info=True)
        finally:
            if os.getpid() != own:  # a copy of this process that the call made: it is nobody's host
                os._exit(0)
            seconds = time.perf_counter() - started
            changed, left = before.put_back(home), there.new()
    for deed, things in (("changed the", changed), ("left behind", left)):
        if things:
            LOG.info("%s %s %s", what, deed, ", ".join(things))
    return Outcome(value, fault, changed, seconds, raised, left)


def tell() -> None:
    """Let everything that plugins do be told on stderr, once."""
    if not LOG.handlers:
        told = logging.StreamHandler()
        told.setFormatter(logging.Formatter("chiasm.plugins: %(message)s"))
        LOG.addHandler(told)
    LOG.setLevel(logging.DEBUG)


def fault_text(error: BaseException, home: str) -> str:
    """The fault in one line without addresses: an error of ours by its message, any other by its class and place."""
    try:
        if isinstance(error, ChiasmError):
            return clean(str(error), 250)
        if isinstance(error, ValidationError):
            return clean(_first_misfit(error), 250)
    except Exception:  # a plugin's own class may even fail at being printed
        LOG.debug("an error could not be printed", exc_info=True)
    place = _place_of_syntax(error) or _place(error.__traceback__, home.split(".")[0])
    return clean(f"{type.__getattribute__(type(error), '__name__')}{place}", 120)


def clean(text: str, limit: int) -> str:
    """`text` on one line, without object addresses, cut to `limit` characters."""
    return shown(re.sub(r"0x[0-9a-fA-F]{5,}", "0x…", " ".join(text.split())), limit)


class _Aside(io.TextIOBase):
    """Standard output for foreign code: what it prints goes to stderr, and closing it closes nothing."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Standard output is out of reach, by either of its names."""
    kept = sys.__stdout__
    with contextlib.redirect_stdout(_Aside()):
        sys.__stdout__ = sys.stdout  # type: ignore[misc, assignment]
        try:
            yield
        finally:
            sys.__stdout__ = kept  # type: ignore[misc]


@contextlib.contextmanager
def _alone(what: str, home: str) -> Iterator[None]:
    """One guarded call at a time; foreign code that calls back, from its own thread too, is refused and never waits."""
    while not _ONE_AT_A_TIME.acquire(timeout=PATIENCE_S):
        running = next(iter(_RUNNING), None)
        if running is not None and _is_its_thread(running):
            raise PluginError(f"a thread of {running.what} called the platform back; it may only answer")
    try:
        if _RUNNING:
            raise PluginError(f"{_RUNNING[0].what} called the platform back; it may only answer")
        threads = frozenset(threading.enumerate())
        _RUNNING.append(_Running(what, home.split(".")[0], threading.get_ident(), threads))
        try:
            yield
        finally:
            _RUNNING.clear()
    finally:
        _ONE_AT_A_TIME.release()


def _is_its_thread(running: _Running) -> bool:
    """Whether the current thread was started during the call, runs its package's code, and the call waits for it."""
    if threading.current_thread() in running.threads or not _is_waiting(running.thread):
        return False
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).split(".")[0] == running.package:
            return True
        frame = frame.f_back
    return False


def _is_waiting(thread: int) -> bool:
    """Whether a thread stands in a join, or in another lock of Python's."""
    frame = sys._current_frames().get(thread)
    return frame is not None and frame.f_globals.get("__name__") == threading.__name__


@contextlib.contextmanager
def _watched(what: str, time_limit_s: float | None) -> Iterator[None]:
    if time_limit_s is None:
        yield
        return
    watch = threading.Timer(time_limit_s, LOG.warning, ["%s is still running after %g s", what, time_limit_s])
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


def _first_misfit(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(step) for step in first["loc"])
    fact = first["msg"].removeprefix("Value error, ")
    return f"{error.title} does not fit its schema at {place or 'the top'}: {fact}"


def _place(trace: TracebackType | None, package: str) -> str:
    """Where the fault arose: the innermost line of `package`, or else the innermost of all."""
    last = own = None
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith("<frozen"):
            last = trace
        if str(trace.tb_frame.f_globals.get("__name__", "")).split(".")[0] == package:
            own = trace
        trace = trace.tb_next
    where = own or last
    if where is None:
        return ""
    return f" at {os.path.basename(where.tb_frame.f_code.co_filename)}:{where.tb_lineno}"


def _place_of_syntax(error: BaseException) -> str:
    if type(error) not in (SyntaxError, IndentationError, TabError):
        return ""
    assert isinstance(error, SyntaxError)
    return f" at {os.path.basename(error.filename or '?')}:{error.lineno}"
