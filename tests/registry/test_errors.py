"""What of a caller's input may stand in a message: one line, and not much of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from chiasm_registry.errors import shown, shown_path


def test_a_long_text_keeps_its_beginning() -> None:
    assert shown("short") == "short"
    assert shown("a" * 79 + "b") == "a" * 79 + "b"
    assert shown("a" * 79 + "bc") == "a" * 79 + "…"


def test_a_long_path_keeps_the_files_name() -> None:
    """Cut at its front, to the same length."""
    assert shown_path(Path("photos") / "cat.jpg") == "photos/cat.jpg"
    assert shown_path("a" * 74 + "/b.jpg") == "a" * 74 + "/b.jpg"
    path = Path("/", *["folder"] * 40, "cat.jpg")
    assert shown_path(path, 15) == "…folder/cat.jpg"
    assert len(shown_path(path)) == 80
    assert shown_path(path).endswith("/folder/cat.jpg")


@pytest.mark.parametrize("show", [shown, shown_path])
def test_no_line_break_and_no_control_character_gets_through(show: Callable[[object], str]) -> None:
    text = show("a\nb\x1b[31m\u202ec\udc80")
    assert text == "a\\nb\\x1b[31m\\u202ec\\udc80"
    assert text.isprintable()
    assert len(show("\x1b" * 10_000)) == 80
