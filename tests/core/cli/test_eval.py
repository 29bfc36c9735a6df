"""`chiasm eval` on the command line, with a model that is a stand-in."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import chiasm
import numpy as np
import pytest
import typer
from chiasm.cli.app import run
from chiasm.cli.errors import guarded
from chiasm.cli.evaluate import Mode, command
from chiasm.cli.options import IouType
from chiasm.result import Object, Result
from chiasm_registry import Mask, Masks, ScoredMask
from chiasm_registry.geometry import Box
from PIL import Image


class OneCat:
    """A model that sees a cat in the same place of every picture."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.notices = ()

    def detect(self, images: list[Any], names: list[str], *, threshold: float, max_objects: int) -> list[Result]:
        self.asked.append((len(images), tuple(names), threshold, max_objects))
        cat = Object(label="cat", score=0.7, box=Box(xyxy=(1.0, 2.0, 41.0, 42.0)), task="detection")
        return [Result(objects=(cat,)) for _ in images]


@pytest.fixture
def one_cat(monkeypatch: pytest.MonkeyPatch) -> OneCat:
    model = OneCat()
    monkeypatch.setitem(vars(chiasm), "load", lambda name, **options: model)  # setattr would import torch first
    for variable in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(variable, raising=False)
    return model


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, Path]:
    box = {"bbox": [1.0, 2.0, 40.0, 40.0], "area": 1600.0, "iscrowd": 0}
    gt = {
        "images": [{"id": i, "width": 64, "height": 64, "file_name": f"{i}.png"} for i in range(3)],
        "categories": [{"id": 9, "name": "dog, small"}, {"id": 4, "name": "cat"}],  # no order, a comma
        "annotations": [{**box, "id": i, "image_id": i, "category_id": 4} for i in range(3)],
    }
    (tmp_path / "gt.json").write_text(json.dumps(gt))
    for i in range(3):
        Image.new("RGB", (64, 64)).save(tmp_path / f"{i}.png")
    return tmp_path / "gt.json", tmp_path


app = typer.Typer()
app.command("eval")(command)


def _call(data: tuple[Path, Path], **options: Any) -> None:
    command(
        typer.Context(typer.main.get_command(app)),
        *data,
        **{
            "model": "nano",
            "task": None,
            "iou_type": IouType.bbox,
            "mode": Mode.guided,
            "limit": None,
            "batch_size": 2,
            "out": None,
            "as_json": True,
            "device": "cpu",
            "prompts": None,
            "skip_missing": False,
            **options,
        },
    )


def test_every_name_is_asked_without_threshold(
    one_cat: OneCat, data: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """All category names go to every image, top 100, no threshold; answers are matched by name."""
    _call(data)
    report = json.loads(capsys.readouterr().out)
    assert one_cat.asked == [(2, ("dog, small", "cat"), 0.0, 100), (1, ("dog, small", "cat"), 0.0, 100)]
    assert report["bbox"]["AP"] == pytest.approx(1.0)
    assert report["mode"] == "guided"
    assert report["model"] == "nano"


def test_results_go_to_out(one_cat: OneCat, data: tuple[Path, Path], tmp_path: Path) -> None:
    """--out gets a COCO result file, the report, and what is needed to resume."""
    _call(data, out=tmp_path / "out")
    rows = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert rows[0] == {"image_id": 0, "category_id": 4, "bbox": [1.0, 2.0, 40.0, 40.0], "score": 0.7}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"detections.json", "report.json", "part-0.jsonl"}
    one_cat.asked.clear()
    _call(data, out=tmp_path / "out")
    assert one_cat.asked == []


def test_the_model_is_loaded_without_looking_for_rubbish(
    one_cat: OneCat, data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `predict` does it; asking goes on with the collector."""
    searched: list[bool] = []
    monkeypatch.setitem(vars(chiasm), "load", lambda name, **options: searched.append(gc.isenabled()) or one_cat)
    try:
        _call(data)
        assert searched == [False]
        assert gc.isenabled()
    finally:
        gc.unfreeze()


def test_a_missing_photograph_is_named_before_the_model_is_loaded(
    data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2 and one line; no weights are read for a folder that cannot work."""
    monkeypatch.setitem(vars(chiasm), "load", lambda *a, **k: pytest.fail("loaded"))
    (data[1] / "1.png").unlink()
    assert guarded(lambda: _call(data)) == 2
    assert "'1.png' is missing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("a" * 300, "categories[0]: name has 300 characters; at most 256 are taken"),
        ("\u200b", "categories[0]: name is blank"),
        ("ca\u0301t", "categories[0] and categories[1] have the same name 'cát'"),
    ],
)
def test_a_name_that_no_model_takes_is_named_before_it_is_loaded(
    data: tuple[Path, Path], name: str, fact: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(vars(chiasm), "load", lambda *a, **k: pytest.fail("loaded"))
    value = json.loads(data[0].read_text())
    value["categories"] = [{"id": 9, "name": name}, {"id": 4, "name": "c\xe1t"}]
    data[0].write_text(json.dumps(value))
    assert guarded(lambda: _call(data)) == 2
    assert f"gt.json: {fact}" in capsys.readouterr().err


def test_stdout_holds_nothing_but_the_result(
    one_cat: OneCat, data: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Progress and notes are on stderr."""
    (data[1] / "1.png").unlink()
    _call(data, skip_missing=True)
    captured = capsys.readouterr()
    assert json.loads(captured.out)["skipped"] == 1
    assert "1.png" in captured.err


def test_phrases_with_masks_are_asked_instead_of_a_set(
    data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--referring` in place of `--gt`: the masks of the task, all phrases of an image at once."""
    mask = Mask.from_numpy(np.eye(64, dtype=bool))
    refer = data[1] / "refer.json"
    images = [{"id": 0, "file_name": "0.png", "height": 64, "width": 64}]
    rows = [{"image_id": 0, "phrase": p, "segmentation": m} for p, m in (("left dog", dict(mask.rle)), ("gnu", None))]
    refer.write_text(json.dumps({"images": images, "requests": rows}))

    asked: list[tuple[str, ...]] = []

    class Outlines:
        notices = ()

        def run(self, tasks: tuple[str, ...], picture: Any, phrases: list[str]) -> Any:
            asked.append(tasks)
            assert phrases == ["left dog", "gnu"]
            item = ScoredMask(mask=mask, score=0.9)
            outputs = (Masks(phrase="left dog", items=(item,)), Masks(phrase="gnu"))
            return type("Answer", (), {"outputs": {"segmentation": outputs}})()

    given: dict[str, Any] = {}
    monkeypatch.setitem(vars(chiasm), "load", lambda name, **options: given.update(options) or Outlines())
    line = ["eval", "--referring", str(refer), "--images", str(data[1])]
    assert run([*line, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["gIoU"], report["cIoU"], report["empty_answered_empty"]) == (1.0, 1.0, 1.0)
    assert run([*line, "--task", "segmentation", "--alone", "--tasks-from", "own.safetensors"]) == 0
    assert given["tasks_from"] == (Path("own.safetensors"),)
    assert "2 requests on 1 images" in capsys.readouterr().out
    assert asked == [("detection", "segmentation"), ("segmentation",)]
    assert run([*line, "--gt", str(data[0])]) == 2
    assert run(["eval", "--images", str(data[1])]) == 2
    assert "give one of --gt FILE and --referring FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (
            "--gt {gt} --absent 3 --seeds 20 --names bus --option a=b --alone",
            "--seeds, --option, --names, --absent, --alone: ",
        ),
        ("--gt {gt} --prompts nofile", "--prompts"),
        ("--gt {gt} --task spots --out d --mode free", "--mode, --out"),
        ("--gt {gt} --task generation --judge x --limit 3 --iou-type segm", "--iou-type, --limit"),
        ("--referring no.json --out d --mode free --judge x --prompts nofile", "--mode, --out, --prompts, --judge"),
    ],
)
def test_an_option_that_would_be_passed_over_is_refused_by_name(
    data: tuple[Path, Path], tmp_path: Path, line: str, named: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also where it was given its default; before the model is loaded."""
    monkeypatch.setitem(vars(chiasm), "load", lambda *a, **k: pytest.fail("loaded"))
    (tmp_path / "spots.py").write_text(PLUGIN.replace('raise ValueError("no")', "return print"))
    monkeypatch.setenv("CHIASM_PLUGINS_FILES", str(tmp_path / "spots.py"))
    assert run(["eval", "--images", str(data[1]), *line.format(gt=data[0]).split()]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"chiasm: {named}")
    assert told.count("\n") == 1


def test_phrases_go_on_without_photographs_that_are_missing_or_torn(
    data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (data[1] / "0.png").unlink()
    (data[1] / "1.png").write_bytes((data[1] / "1.png").read_bytes()[:-40])
    images = [{"id": i, "file_name": f"{i}.png", "height": 64, "width": 64} for i in range(3)]
    rows = [{"image_id": i, "phrase": "gnu", "segmentation": None} for i in range(3)]
    (data[1] / "refer.json").write_text(json.dumps({"images": images, "requests": rows}))

    class Blind:
        notices = ()

        def run(self, tasks: tuple[str, ...], picture: Any, phrases: list[str]) -> Any:
            return type("Answer", (), {"outputs": {}})()

    monkeypatch.setitem(vars(chiasm), "load", lambda name, **options: Blind())
    line = ["eval", "--referring", str(data[1] / "refer.json"), "--images", str(data[1]), "--json"]
    assert run(line) == 2
    assert "--skip-missing goes on without" in capsys.readouterr().err
    assert run([*line, "--skip-missing"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["images"], report["skipped"], report["requests"]) == (1, 2, 1)


def test_a_task_whose_metric_cannot_be_made_is_not_measured_as_boxes(
    one_cat: OneCat, data: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "spots.py").write_text(PLUGIN)
    monkeypatch.setenv("CHIASM_PLUGINS_FILES", str(tmp_path / "spots.py"))
    code = run(["eval", "--gt", str(data[0]), "--images", str(data[1]), "--task", "spots"])
    told = capsys.readouterr()
    assert (code, told.out, one_cat.asked) == (2, "", [])
    assert told.err == "chiasm: task 'spots' cannot be measured: its metric() failed with ValueError at spots.py:7\n"


PLUGIN = """from chiasm_registry import Boxes, Task, TaskSpec, hookimpl

class Spots(Task):
    spec = TaskSpec(name="spots", token="[SPOTS]", embeddings=1, output=Boxes, summary="spots")

    def metric(self):
        raise ValueError("no")

@hookimpl
def chiasm_tasks():
    return [Spots()]
"""
