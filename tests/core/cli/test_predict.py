"""`chiasm predict` with a model that is made up: what it prints, writes, refuses, and with which exit code."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import chiasm
import pytest
from chiasm.cli.app import run
from chiasm.result import Object, Result
from chiasm_registry.errors import InputError
from chiasm_registry.geometry import Box
from PIL import Image


class FakeModel:
    def __init__(self) -> None:
        self.calls: list[tuple[str, Any, Any]] = []

    def detect(self, images: list[str], names: list[str], **options: Any) -> list[Result]:
        self.calls.append(("detect", names, options))
        return [self._result(image, names, "") for image in images]

    def segment(self, images: list[str], names: list[str], **options: Any) -> list[Result]:
        self.calls.append(("segment", names, options))
        return [self._result(image, names, "") for image in images]

    def ask(self, images: list[str], prompt: str, **options: Any) -> list[Result]:
        self.calls.append(("ask", prompt, options))
        return [self._result(image, ["cat"], "a cat") for image in images]

    def _result(self, source: str, names: list[str], text: str) -> Result:
        from chiasm.images import open_image

        picture = open_image(source).rgb
        found = Object(label=names[0], score=0.5, box=Box(xyxy=(1.0, 2.0, 30.0, 20.0)), task="detection")
        result = Result(text=text, objects=(found,), size_hw=(picture.height, picture.width))
        return result.remember(picture)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeModel:
    fake = FakeModel()
    load = lambda name, *, device="cpu", tasks=None: fake  # noqa: E731  # the real one would import torch
    monkeypatch.setitem(vars(chiasm), "load", load)
    return fake


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 48), "grey").save(path)
    return str(path)


def test_finds_names_split_at_commas_and_prints_them(
    model: FakeModel, picture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["predict", picture, "--find", "cat, red cup", "--find", "dog", "--threshold", "0.2"]) == 0
    assert model.calls == [("detect", ["cat", "red cup", "dog"], {"threshold": 0.2, "max_objects": 100})]
    out = capsys.readouterr().out
    assert "cat  0.50  at 1 2 30 20" in out
    assert "64x48" in out


def test_outlines_names_in_the_same_form(model: FakeModel, picture: str) -> None:
    assert run(["predict", picture, "--outline", "dog, cat", "--max-objects", "7"]) == 0
    assert model.calls == [("segment", ["dog", "cat"], {"threshold": None, "max_objects": 7})]
    assert run(["predict", picture, "--outline", "dog,,cat"]) == 2
    assert run(["predict", picture, "--outline", "dog", "--find", "cat"]) == 2


def test_a_file_of_names_keeps_commas(model: FakeModel, picture: str, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_bytes("\ufeffcat, sleeping\r\n\r\nmug\ncat, sleeping\nca\u0301t\nc\xe1t".encode())
    assert run(["predict", picture, "--names", str(names)]) == 0
    assert model.calls[0][1] == ["cat, sleeping", "mug", "ca\u0301t"]


def test_names_come_from_a_regular_file_alone(
    model: FakeModel, picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe into which nobody writes would hold the command for ever."""
    os.mkfifo(tmp_path / "pipe")
    for path in ("pipe", ".", "x" * 300):
        assert run(["predict", picture, "--names", str(tmp_path / path)]) == 2
        assert "it must be a regular text file" in capsys.readouterr().err


def test_asking_prints_the_answer(model: FakeModel, picture: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["predict", picture, "--ask", "what is it?"]) == 0
    assert model.calls[0][:2] == ("ask", "what is it?")
    assert "a cat" in capsys.readouterr().out


def test_json_of_one_image_is_an_object_that_reads_back(
    model: FakeModel, picture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["predict", picture, "--find", "cat", "--json"]) == 0
    result = Result.from_json(capsys.readouterr().out)
    assert result.source == picture
    assert result.objects[0].label == "cat"


def test_json_of_several_images_is_an_array_of_the_good_ones_and_the_bad_one_is_named(
    model: FakeModel, picture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a long path would be cut in the message
    Path("broken.png").write_bytes(b"no picture")
    assert run(["predict", "broken.png", picture, "--find", "cat", "--json"]) == 2
    out, err = capsys.readouterr()
    assert [row["source"] for row in json.loads(out)] == [picture]
    assert "broken.png" in err
    assert err.count("\n") == 1


def test_equal_stems_and_inputs_are_never_overwritten(model: FakeModel, picture: str, tmp_path: Path) -> None:
    other = tmp_path / "deep" / "a.png"
    other.parent.mkdir()
    Image.new("RGB", (32, 24)).save(other)
    before = Path(picture).read_bytes()
    assert run(["predict", picture, str(other), "--find", "cat", "--out", str(tmp_path)]) == 0
    assert Path(picture).read_bytes() == before
    written = sorted(path.name for path in tmp_path.iterdir() if path.is_file())
    assert written == ["a-2.json", "a-2.png", "a-3.json", "a-3.png", "a.png"]
    with Image.open(tmp_path / "a-2.png") as drawn:
        assert drawn.size == (320, 240)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--find", "cat", "--ask", "cat?"],
        ["--find", "cat,,dog"],
        ["--names", "/nowhere"],
        ["--find"],
        ["--max-objects", "x"],
    ],
)
def test_bad_arguments_are_one_line_and_two(
    model: FakeModel, picture: str, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["predict", picture, *arguments]) == 2
    err = capsys.readouterr().err
    assert err.startswith("chiasm: ")
    assert err.count("\n") == 1
    assert not model.calls


def test_an_error_that_is_no_image_s_ends_the_run_once(
    model: FakeModel, picture: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> list[Result]:
        raise InputError("threshold must be in 0..1")

    monkeypatch.setattr(model, "detect", refuse)
    assert run(["predict", picture, picture, "--find", "cat"]) == 2
    assert capsys.readouterr().err == "chiasm: threshold must be in 0..1\n"


@pytest.mark.parametrize("ending", ["png", "json"])
def test_files_that_cannot_be_written_are_one_image_s_fault(
    model: FakeModel, picture: str, tmp_path: Path, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named, the next image is looked at, and no half of a pair is left."""
    (other := tmp_path / "b.png").write_bytes(Path(picture).read_bytes())
    (blocked := tmp_path / "out" / f"a.{ending}").mkdir(parents=True)
    assert run(["predict", picture, str(other), "--find", "cat", "--out", str(blocked.parent), "--json"]) == 2
    out, err = capsys.readouterr()
    assert [row["source"] for row in json.loads(out)] == [str(other)]
    assert f"a.{ending}'" in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in blocked.parent.iterdir()) == [blocked.name, "b.json", "b.png"]
