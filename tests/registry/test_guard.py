"""Foreign code cannot take the host along, and what it did is said in one line."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from chiasm_registry import ChiasmError, PluginError
from chiasm_registry.guard import PATIENCE_S, clean, fault_text, guarded


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


def test_foreign_code_that_calls_back_is_refused() -> None:
    outcome = guarded(lambda: guarded(lambda: None, "inner", __name__), "the decoder of task 'x'", __name__)
    assert outcome.fault == "the decoder of task 'x' called the platform back; it may only answer"
    assert guarded(lambda: 1, "the next", __name__).value == 1


def test_foreign_code_that_calls_back_from_its_own_thread_is_refused_and_hangs_nobody() -> None:
    faults: list[str] = []

    def calls_back() -> None:
        try:
            guarded(lambda: None, "inner", __name__)
        except PluginError as error:
            faults.append(str(error))

    def foreign() -> None:
        thread = threading.Thread(target=calls_back)
        thread.start()
        thread.join()

    assert guarded(foreign, "the decoder of task 'x'", __name__).fault is None
    assert faults == ["a thread of the decoder of task 'x' called the platform back; it may only answer"]


def test_another_thread_of_the_host_waits_for_its_turn() -> None:
    order: list[str] = []

    def slow() -> None:
        time.sleep(2.5 * PATIENCE_S)
        order.append("slow")

    def quick() -> None:
        guarded(lambda: order.append("quick"), "quick", __name__)

    other = threading.Thread(target=lambda: (time.sleep(0.2), quick()))
    other.start()
    guarded(slow, "slow", __name__)
    other.join()
    assert order == ["slow", "quick"]


LEFT = {
    "a running thread": lambda: threading.Thread(target=_rests, daemon=True).start(),
    "an open file": lambda: KEPT.append(open(__file__)),  # noqa: SIM115
    "a hook on all modules of torch": lambda: KEPT.append(
        torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    ),
}
KEPT: list[Any] = []


def _rests() -> None:
    time.sleep(5)


@pytest.mark.parametrize("left", LEFT)
def test_what_is_left_behind_is_named(left: str) -> None:
    try:
        assert str(guarded(LEFT[left], "it", __name__).left).startswith(f"('{left}")
    finally:
        for one in KEPT:
            getattr(one, "remove", getattr(one, "close", None))()
        KEPT.clear()
    assert guarded(lambda: None, "it", __name__).left == ()


def test_a_copy_of_the_process_that_foreign_code_makes_ends_behind_the_guard(tmp_path: Path) -> None:
    marks = tmp_path / "marks"

    def forks() -> None:
        os.fork()

    guarded(forks, "it", __name__)
    with marks.open("a") as file:  # a second host would come here, too
        file.write("here\n")
    time.sleep(0.2)
    assert marks.read_text() == "here\n"


def test_state_beyond_torch_s_is_put_back_and_named() -> None:
    before = os.umask(0o022), list(sys.path), dict(os.environ), list(warnings.filters), signal.getsignal(signal.SIGTERM)

    def changes() -> None:
        os.umask(0)
        sys.path.insert(0, "/nowhere")
        os.environ["PATH"] = ""
        warnings.simplefilter("ignore")
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    changed = guarded(changes, "it", __name__).changed
    wanted = {"umask", "path of imports", "environment", "filters of warnings"}
    main = threading.current_thread() is threading.main_thread()
    assert set(changed) == (wanted | {"handler of SIGTERM"} if main else wanted)
    after = os.umask(before[0]), list(sys.path), dict(os.environ), list(warnings.filters)
    assert after == (0o022, *before[1:4])
    assert signal.getsignal(signal.SIGTERM) == before[4]


def test_a_text_is_one_line_without_addresses_and_not_too_long() -> None:
    assert clean("<x at 0x7f0123456789>\n\x1b[31m" + "y" * 99, 40) == "<x at 0x…> \\x1b[31m" + "y" * 20 + "…"


def test_what_is_gone_for_good_keeps_nothing_else_from_coming_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def leaves() -> None:
        os.chdir("/")
        tmp_path.rmdir()
        torch.set_default_dtype(torch.float64)

    outcome = guarded(leaves, "it", __name__)
    assert outcome.fault is None
    assert "working directory" in outcome.changed
    assert torch.get_default_dtype() == torch.float32
