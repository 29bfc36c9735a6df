"""`chiasm draw` with a model that is made up: what it writes, refuses, and with which exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import chiasm
import pytest
from chiasm.cli.app import run
from chiasm.result import Result
from chiasm_registry import InputError, Picture
from chiasm_registry.outputs import Notice
from PIL import Image


class Painter:
    """Its pictures are as grey as their seed."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.fails = False

    def draw(self, prompt: str, **options: Any) -> Result:
        if options["steps"] == 0:
            raise InputError("generation: option steps is 0")
        self.asked.append((prompt, options))
        if self.fails:
            return Result(notices=(Notice(text="the task failed", task="generation"),))
        picture = Picture.from_image(Image.new("RGB", (8, 8), (options["seed"],) * 3))
        return Result(outputs={"generation": (picture,)})


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> Painter:
    fake = Painter()
    monkeypatch.setitem(vars(chiasm), "load", lambda name, *, device="cpu": fake)  # the real one would import torch
    return fake


def test_a_picture_goes_to_its_file(painter: Painter, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["draw", "a red bus", "--out", str(tmp_path / "bus.png"), "--seed", "7", "--size", "96"]) == 0
    assert painter.asked == [("a red bus", {"seed": 7, "steps": None, "guidance": None, "size": 96})]
    with Image.open(tmp_path / "bus.png") as picture:
        assert picture.getpixel((0, 0)) == (7, 7, 7)
    assert "bus.png" in capsys.readouterr().out


def test_several_are_numbered_by_their_seeds(painter: Painter, tmp_path: Path) -> None:
    assert run(["draw", "a dog", "--out", str(tmp_path / "dog.webp"), "--seed", "3", "--count", "2"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"dog-3.webp", "dog-4.webp"}
    assert [options["seed"] for _, options in painter.asked] == [3, 4]


@pytest.mark.parametrize(
    "wrong",
    [
        ["--out", "bus.xyz"],
        ["--out", "bus.json"],
        ["--out", "bus.png", "--steps", "0"],
        ["--out", "bus.png", "--count", "0"],
        ["--out", "nowhere/bus.png"],
        [],
    ],
)
def test_what_is_wrong_ends_in_one_line(
    painter: Painter, wrong: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert run(["draw", "a bus", *wrong]) == 2
    error = capsys.readouterr().err
    assert error.startswith("chiasm: ")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_no_picture_is_said(painter: Painter, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    painter.fails = True
    assert run(["draw", "a bus", "--out", str(tmp_path / "bus.png")]) == 2
    assert "the task failed" in capsys.readouterr().err
