"""A quick start for a command that is soon over."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_for_good() -> Iterator[None]:
    """What is loaded inside stays until the process ends: nothing looks for rubbish in it, not even at the exit.

    Torch and transformers bring more than a million objects; going through them again and again took a quarter of the
    time from the command line to the answer.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
