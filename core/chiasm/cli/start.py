"""A quick start for a command that is soon over, and an end at any moment of it."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from .errors import INTERRUPTED


@contextmanager
def kept_for_good() -> Iterator[None]:
    """What is loaded inside stays until the process ends: nothing looks for rubbish in it, not even at the exit.

    Torch and transformers bring more than a million objects; going through them again and again took a quarter of the
    time from the command line to the answer.
    """
    gc.disable()
    try:
        with stopped_at_once():
            yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def stopped_at_once() -> Iterator[None]:
    """Ctrl-C inside ends the process on the spot: for imports and loading, before anything is written.

    An interrupt that is raised in the middle of importing torch or numpy may come out as another error, or as a crash.
    """
    theirs = signal.getsignal(signal.SIGINT)
    if theirs is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield  # somebody else says what an interrupt is
        return
    signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, theirs)


def _leave(number: int, frame: FrameType | None) -> None:
    bar = b"\r\x1b[K\x1b[?25h" if os.isatty(2) else b""  # taken away, and the cursor shown that it had hidden
    with suppress(OSError):
        os.write(2, bar + b"chiasm: interrupted\n")
    os._exit(INTERRUPTED)
