"""What a person says about plugins is read in one place, and ends with the block it was set for."""

from __future__ import annotations

import os

import pytest
from chiasm_registry.settings import Settings, applied

NAMES = ("ONLY", "BLOCK", "FILES", "STRICT", "TRACE")


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(f"CHIASM_PLUGINS_{name}", raising=False)


def test_without_variables_everything_is_loaded_and_nothing_told() -> None:
    assert Settings.read() == Settings(None, (), (), False, False)


def test_variables_are_lists_and_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIASM_PLUGINS_ONLY", " a, b ,")
    monkeypatch.setenv("CHIASM_PLUGINS_FILES", os.pathsep.join(["x.py", "y.py"]))
    monkeypatch.setenv("CHIASM_PLUGINS_STRICT", "1")
    monkeypatch.setenv("CHIASM_PLUGINS_TRACE", "0")
    assert Settings.read() == Settings(("a", "b"), (), ("x.py", "y.py"), strict=True, trace=False)
    monkeypatch.setenv("CHIASM_PLUGINS_ONLY", "")
    assert Settings.read().only == ()


@pytest.mark.parametrize(
    "settings", [Settings(), Settings(only=()), Settings(("a",), ("b", "c"), ("d.py",), strict=True, trace=True)]
)
def test_settings_written_down_are_read_back(settings: Settings) -> None:
    with applied(settings):
        assert Settings.read() == settings
    assert Settings.read() == Settings()


def test_what_is_not_said_stays_as_it_was_and_an_error_ends_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHIASM_PLUGINS_BLOCK", "x")

    def fails() -> None:
        with applied(Settings(only=("a",))):
            assert Settings.read() == Settings(("a",), ("x",))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert Settings.read() == Settings(None, ("x",))
