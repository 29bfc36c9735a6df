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
from types import TracebackType
from typing import Generic, TypeVar

from pydantic import ValidationError

from .errors import ChiasmError, shown
from .state import Snapshot

T = TypeVar("T")

LOG = logging.getLogger("chiasm.plugins")

# The state compared is the process's own: two guarded calls at once could not be told apart.
_ONE_AT_A_TIME = threading.RLock()


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What came of a guarded call: a value, or the fault in one line."""

    value: T | None
    fault: str | None
    changed: tuple[str, ...]  # names of process-wide state that the call had changed; all of it is put back
    seconds: float
    error: BaseException | None = None  # behind the fault


def guarded(call: Callable[[], T], what: str, home: str, time_limit_s: float | None = None) -> Outcome[T]:
    """Run foreign code of the module `home`; only KeyboardInterrupt comes through. `what` names it in the log."""
    value, fault, raised = None, None, None
    with _ONE_AT_A_TIME, _watched(what, time_limit_s):
        before = Snapshot()
        started = time.perf_counter()
        try:
            with contextlib.redirect_stdout(_Aside()):
                value = call()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            fault, raised = fault_text(error, home), error
            LOG.debug("%s failed", what, exc_info=True)
        finally:
            seconds = time.perf_counter() - started
            changed = before.put_back()
    return Outcome(value, fault, changed, seconds, raised)


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
    return f"{error.title} does not fit its schema at {place or 'the top'}: {first['msg']}"


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
