"""What a child tells arrives, and how it ends is known, whatever it does."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from chiasm_registry.child import Tell, in_child, told_by


def test_what_a_child_tells_arrives_in_order_and_as_it_comes() -> None:
    heard: list[object] = []
    fault = in_child(lambda tell: [tell({"n": k, "text": "ä" * 10**5}) for k in range(3)], 20, heard.append)  # type: ignore[arg-type,return-value]
    assert fault is None
    assert heard == [{"n": k, "text": "ä" * 10**5} for k in range(3)]


@pytest.mark.parametrize(
    ("deed", "why"),
    [
        (lambda: os._exit(0), "it ended the process itself, with exit code 0"),
        (lambda: os._exit(7), "it ended the process itself, with exit code 7"),
        (lambda: sys.exit(0), "it ended the process itself, with exit code 1"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "it was ended by the signal SIGSEGV"),
        (lambda: time.sleep(60), "it did not come back within 2 s, and was stopped"),
    ],
)
def test_a_death_is_told_and_what_was_said_before_is_kept(deed: object, why: str) -> None:
    def work(tell: Tell) -> None:
        tell("before")
        deed()  # type: ignore[operator]

    started = time.monotonic()
    assert told_by(work, 2 if "within" in why else 20) == (["before"], why)
    assert time.monotonic() - started < 15


def test_what_a_child_started_ends_with_it_and_a_copy_of_it_says_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "mark"

    def work(tell: Tell) -> None:
        if os.fork() == 0:
            tell("from the copy")
            time.sleep(1.0)
            mark.write_text("still there")
        tell("from the child")

    assert told_by(work, 20) == (["from the child"], None)
    time.sleep(1.3)
    assert not mark.exists()


def test_what_a_child_prints_is_no_result(capfd: pytest.CaptureFixture[str]) -> None:
    assert told_by(lambda tell: [None, os.write(1, b"noise\n")][0], 20) == ([], None)
    assert capfd.readouterr() == ("", "noise\n")


def test_without_fork_the_work_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    assert told_by(lambda tell: tell(os.getpid()), 20) == ([os.getpid()], None)


def test_what_a_child_says_right_before_its_end_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks at the pipe between its last words and its end: the wait for it takes until both are over."""
    wait = os.waitpid
    monkeypatch.setattr(os, "waitpid", lambda child, how: wait(child, 0))
    assert told_by(lambda tell: [time.sleep(0.3), tell("last words")][0], 20) == (["last words"], None)
