"""Foreign code cannot take the host along, and what it did is said in one line."""

from __future__ import annotations

import logging
import threading
import time

import pytest
from chiasm_registry import ChiasmError
from chiasm_registry.guard import clean, fault_text, guarded


def fail(error: BaseException) -> None:
    raise error


def test_a_value_comes_back_with_the_time_it_took() -> None:
    outcome = guarded(lambda: 7, "seven", __name__)
    assert (outcome.value, outcome.fault, outcome.changed) == (7, None, ())
    assert 0.0 <= outcome.seconds < 1.0


def test_a_call_that_hangs_is_named_in_the_log_while_it_hangs(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "chiasm.plugins"):
        guarded(lambda: time.sleep(0.2), "the decoder of task 'slow'", __name__, time_limit_s=0.02)
    assert caplog.messages == ["the decoder of task 'slow' is still running after 0.02 s"]


def test_the_whole_trace_of_a_fault_is_in_the_debug_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "chiasm.plugins"):
        guarded(lambda: fail(ValueError("inside")), "it", __name__)
    assert "ValueError: inside" in caplog.text


def test_an_error_that_cannot_even_be_printed_is_named_by_its_class() -> None:
    class MuteError(ChiasmError):
        def __str__(self) -> str:
            raise RuntimeError

    assert fault_text(MuteError(), __name__) == "MuteError"


def test_two_threads_are_guarded_one_after_the_other_and_give_stdout_back(capsys: pytest.CaptureFixture[str]) -> None:
    def noisy() -> None:
        for _ in range(20):
            assert guarded(lambda: print("noise"), "noise", __name__).fault is None

    threads = [threading.Thread(target=noisy) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("ours")
    assert capsys.readouterr() == ("ours\n", "noise\n" * 80)


def test_a_guard_within_a_guard_works() -> None:
    outcome = guarded(lambda: guarded(lambda: fail(SystemExit(0)), "inner", __name__), "outer", __name__)
    assert outcome.fault is None
    assert outcome.value is not None
    assert str(outcome.value.fault).startswith("SystemExit at test_guard.py:")


def test_a_text_is_one_line_without_addresses_and_not_too_long() -> None:
    assert clean("<x at 0x7f0123456789>\n\x1b[31m" + "y" * 99, 40) == "<x at 0x…> \\x1b[31m" + "y" * 20 + "…"
