"""What a short command loads is not searched for rubbish, and the collector runs on afterwards."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
from typing import Any

import pytest
from chiasm.cli.start import kept_for_good


@pytest.fixture(autouse=True)
def thawed() -> object:
    """Nothing of this test stays frozen."""
    yield
    gc.unfreeze()
    gc.enable()


def test_the_collector_is_off_inside_and_on_again_behind() -> None:
    with kept_for_good():
        assert not gc.isenabled()
        loaded = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(loaded)


def test_it_is_on_again_when_loading_fails() -> None:
    with pytest.raises(ValueError, match="no such model"), kept_for_good():
        raise ValueError("no such model")
    assert gc.isenabled()


def test_an_interrupt_while_loading_ends_at_once_with_the_usual_line() -> None:
    """Whatever the libraries make of a KeyboardInterrupt."""
    code = (
        "import os, signal; from chiasm.cli.start import kept_for_good\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "with kept_for_good():\n"
        "    try: os.kill(os.getpid(), signal.SIGINT)\n"
        "    except BaseException: raise RecursionError"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (130, "chiasm: interrupted\n")


@pytest.mark.parametrize("theirs", [signal.default_int_handler, signal.SIG_IGN])
def test_what_an_interrupt_does_is_put_back(theirs: Any) -> None:
    """Nothing is changed where it does something else already: a shell's background jobs ignore it."""
    before = signal.signal(signal.SIGINT, theirs)
    try:
        with kept_for_good():
            assert (signal.getsignal(signal.SIGINT) is theirs) is (theirs is signal.SIG_IGN)
        assert signal.getsignal(signal.SIGINT) is theirs
    finally:
        signal.signal(signal.SIGINT, before)
