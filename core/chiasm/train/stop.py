"""Ctrl-C and SIGTERM: the first asks the run to save and end, the second leaves at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

LEFT = 130
ONE_CALL_S = 0.3  # a launcher passes a signal on that its whole group has got already: that is no second one


class StopRequest:
    """Whether somebody asked the run to end."""

    asked = False


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """While inside, signals set the request's `asked`; outside a main thread nothing is changed."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    first = 0.0

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal first
        if request.asked and time.monotonic() - first < ONE_CALL_S:
            return
        if request.asked:
            os._exit(LEFT)  # asked twice: no clean-up that could hang; checkpoints are whole at any moment
        request.asked, first = True, time.monotonic()
        sys.stderr.write("\nchiasm: saving, then leaving; once more leaves at once\n")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
