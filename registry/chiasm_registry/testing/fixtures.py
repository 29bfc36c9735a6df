"""Fixtures for the tests of task authors; pytest finds them by an entry point of this distribution.

At its top this imports pytest alone: whoever runs pytest for something else does not wait for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .core import TinyCore
    from .shapes import Drawn


@pytest.fixture(scope="session")
def tiny_core() -> TinyCore:
    """A random core in memory, shaped as an InternVL, with a pyramid of five maps."""
    from .core import tiny_core as core

    return core()


@pytest.fixture
def no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is installed is discovered, except what the test itself names in CHIASM_PLUGINS_ONLY."""
    monkeypatch.setenv("CHIASM_PLUGINS_ONLY", "")
    monkeypatch.delenv("CHIASM_PLUGINS_BLOCK", raising=False)


@pytest.fixture(scope="session")
def drawn_shapes() -> list[Drawn]:
    """Eight pictures of red discs, blue squares and green triangles, with their boxes and masks."""
    from .shapes import draw_shapes

    return draw_shapes(8)


@pytest.fixture(scope="session")
def coco_shapes(tmp_path_factory: pytest.TempPathFactory, drawn_shapes: list[Drawn]) -> Path:
    """The same as a COCO annotation file with its pictures in `images` beside it."""
    from .shapes import write_coco

    return write_coco(drawn_shapes, tmp_path_factory.mktemp("coco"))
