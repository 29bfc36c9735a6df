"""`chiasm score` on the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from chiasm.cli.errors import guarded
from chiasm.cli.options import IouType
from chiasm.cli.score import command

KEYS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    row = {"image_id": 1, "category_id": 1, "bbox": [1.0, 2.0, 40.0, 40.0]}
    gt: dict[str, Any] = {
        "images": [{"id": 1, "width": 64, "height": 64}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "größe"}],
        "annotations": [{**row, "id": 0, "area": 1600.0, "iscrowd": 0}],
    }
    (tmp_path / "gt.json").write_text(json.dumps(gt))
    (tmp_path / "dt.json").write_text(json.dumps([{**row, "score": 0.5}]))
    return tmp_path / "gt.json", tmp_path / "dt.json"


def test_json_is_one_object(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """--json prints one object with COCO's twelve figures under the overlap's name; unmeasurable ones are null."""
    command(*files, IouType.bbox, True)
    report = json.loads(capsys.readouterr().out)
    assert list(report["bbox"]) == KEYS
    assert report["bbox"]["AP"] == pytest.approx(1.0)
    assert report["bbox"]["APs"] is None
    assert {"mode", "images", "categories", "timings", "per_category"} <= report.keys()
    assert report["per_category"]["größe"] == {"objects": 0, "AP": None, "AP50": None}


def test_json_is_json_on_every_terminal(files: tuple[Path, Path]) -> None:
    gt = json.loads(files[0].read_text())
    gt["categories"][1]["name"] = "\U0001f408 größe"
    files[0].write_text(json.dumps(gt))
    line = [sys.executable, "-m", "chiasm.cli", "score", "--gt", str(files[0]), "--dt", str(files[1]), "--json"]
    said = subprocess.run(line, capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    assert "\U0001f408 größe" in json.loads(said.stdout)["per_category"]


def test_text_has_twelve_lines_and_a_table(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """People get COCO's lines and a row a category, and "not measurable" where pycocotools prints -1."""
    command(*files, IouType.bbox, False)
    out = capsys.readouterr().out
    assert " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 1.000\n" in out
    assert "area= small | maxDets=100 ] = not measurable" in out
    assert "größe" in out
    assert "-1" not in out


def test_control_characters_of_a_name_are_shown_and_not_obeyed(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that every reader lets through: a terminal's own, and one that turns the line round."""
    gt = json.loads(files[0].read_text())
    gt["categories"][1]["name"] = "cup\x9b2J\u202e"
    files[0].write_text(json.dumps(gt))
    command(*files, IouType.bbox, False)
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    assert "cup\\x9b2J\\u202e" in out


def test_a_bad_file_ends_with_two(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    """One line on stderr that names the file, nothing on stdout."""
    files[1].write_text("{}")
    assert guarded(lambda: command(*files, IouType.bbox, True)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "dt.json: results must be a list" in captured.err


def test_importing_the_command_is_light() -> None:
    """`chiasm --help` reads this file; it must not bring numpy, torch or pycocotools."""
    program = (
        f"import sys; sys.path[:] = {sys.path!r}; import chiasm.cli.score, chiasm.cli.evaluate; "
        "print([m for m in ('numpy', 'torch', 'pycocotools', 'PIL', 'pydantic') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
