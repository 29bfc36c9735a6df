"""The bar is on stderr, for patient work on a terminal only, and lines are never printed into it."""

from __future__ import annotations

import time

import pytest
from chiasm.cli import progress
from chiasm.cli.progress import Progress


def work(seconds: float, *, terminal: bool) -> None:
    with Progress(2, "looking", terminal=terminal) as bar:
        for _ in range(2):
            time.sleep(seconds)
            with bar.step():
                print("a line")


def test_long_work_shows_a_bar_on_stderr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(progress, "PATIENCE_S", 0.01)
    work(0.15, terminal=True)
    out, err = capsys.readouterr()
    assert out == "a line\na line\n"
    assert "looking" in err


@pytest.mark.parametrize(("patience", "terminal"), [(30.0, True), (0.0, False)])
def test_short_work_and_a_pipe_show_nothing(
    patience: float, terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "PATIENCE_S", patience)
    work(0.02, terminal=terminal)
    out, err = capsys.readouterr()
    assert out == "a line\na line\n"
    assert err == ""
