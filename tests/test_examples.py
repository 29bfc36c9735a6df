"""The small programs that pages speak of run, on the embedded model."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_the_conversation_streams_text_and_boxes(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("skimage")
    if not (ROOT / "core" / "chiasm" / "models" / "nano" / "weights" / "chiasm.json").is_file():
        pytest.skip("the embedded model is not in this tree")
    result = runpy.run_path(str(ROOT / "examples" / "conversation.py"))
    lines = capsys.readouterr().out.splitlines()
    assert "«" in lines[0]
    assert len(result["session"].turns) == 2
    assert {thing.label for _, answer in result["session"].turns for thing in answer.objects} & {"cat", "cup"}
