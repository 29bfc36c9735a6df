"""The snippets of docs/results.md run, and its JSON is what `Result.from_json` reads."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from chiasm.result import Result

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "results.md").read_text(encoding="utf-8")


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_python_snippets_run_one_after_the_other() -> None:
    pytest.importorskip("supervision")
    names: dict[str, object] = {}
    for snippet in snippets("python"):
        exec(snippet, names)
    assert "detections" in names


def test_the_json_is_a_result_with_every_field() -> None:
    (shown,) = snippets("json")
    result = Result.from_json(shown)
    assert json.loads(result.to_json()) == json.loads(shown)
    assert set(json.loads(shown)) == set(Result.model_fields)
