"""Evaluating a task that makes pictures: drawn by seed, named by judges, beside true crops; colours by pixels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from chiasm.cli.app import run
from chiasm.evaluate.coco import read_coco
from chiasm.evaluate.colours import COLOURS, colour_share, has_colour
from chiasm.evaluate.judges import ModelJudge, open_judge
from chiasm.evaluate.picodet import PicoDet
from chiasm.evaluate.pictures import PicturePlan, as_lines, draw_and_judge, makes_pictures, real_crops
from chiasm.result import Object, Result
from chiasm_registry import Box, InputError, Picture
from chiasm_registry.coco import COCO_NAMES
from core.tiny import BoxTask
from PIL import Image
from safetensors.torch import save_file

torch.set_num_threads(1)

PAINT = {"red": (230, 20, 20), "blue": (20, 60, 220), "dog": (120, 90, 60), "car": (128, 128, 128)}


class Painter:
    """Draws one flat colour: that of the first word it knows."""

    notices = ()

    def run(self, task: str, image: None, phrases: Sequence[str], *, seed: int, steps: int) -> Result:
        (phrase,) = phrases
        assert steps == 4
        paint = next(PAINT[word] for word in (*phrase.split(), "car") if word in PAINT)
        picture = Picture.from_image(Image.new("RGB", (64, 64), paint))
        return Result(outputs={task: (picture.model_copy(update={"phrase": phrase}),)})


class Colourist:
    """Names a picture by its colour; true things of the set are black."""

    name = "colourist"

    def top(self, pictures: Sequence[Image.Image]) -> list[str]:
        names = {PAINT["dog"]: "dog", PAINT["car"]: "dog", (0, 0, 0): "car"}
        return [names.get(picture.getpixel((0, 0)), "") for picture in pictures]  # type: ignore[arg-type]


@pytest.fixture
def plan(tmp_path: Path) -> PicturePlan:
    box = {"bbox": [10.0, 0.0, 90.0, 90.0], "area": 8100.0, "iscrowd": 0, "image_id": 1}
    value = {
        "images": [{"id": 1, "width": 100, "height": 90, "file_name": "1.png"}],
        "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {**box, "id": 1, "category_id": 1},
            {**box, "id": 2, "category_id": 1, "bbox": [0.0, 0.0, 70.0, 20.0]},
            {**box, "id": 3, "category_id": 2, "bbox": [0.0, 0.0, 30.0, 20.0]},
        ],
    }
    (tmp_path / "gt.json").write_text(json.dumps(value))
    Image.new("RGB", (100, 90)).save(tmp_path / "1.png")
    return PicturePlan(read_coco(tmp_path / "gt.json"), tmp_path, "paint", seeds=3, out=tmp_path / "out")


def test_pictures_are_judged_beside_true_crops(plan: PicturePlan) -> None:
    """A name's row has its share, that of true crops, and what it was mistaken for; files are written."""
    from dataclasses import replace

    plan = replace(plan, names=("car", "dog"), options={"steps": 4})
    model: Any = Painter()
    report = draw_and_judge(plan, model, [Colourist()])
    told = report["judges"]["colourist"]
    assert told["names"]["car"] == {"drawn": 0.0, "real": 1.0, "mistaken_for": ["dog 3"]}
    assert told["names"]["dog"] == {"drawn": 1.0, "real": None, "mistaken_for": []}
    assert (told["drawn"], told["real"]) == (0.5, 1.0)
    assert report["colours"]["each"]["red"] == report["colours"]["each"]["blue"] == 1.0
    assert report["colours"]["each"]["green"] == report["colours"]["unasked"] == 0.0
    assert plan.out is not None
    assert {path.name for path in plan.out.iterdir()} == {"report.json", "sheet.png"}
    assert len(as_lines(report)) == 1 + 2 + 1 + len(COLOURS)
    assert plan.count() == 2 * 3 + 1 * len(COLOURS) * 3


def test_frequent_names_are_drawn_unless_others_are_given(plan: PicturePlan) -> None:
    """Counted by things large enough to be compared with."""
    from dataclasses import replace

    assert plan.drawn() == ("car",)
    with pytest.raises(InputError, match="has no category 'cow'"):
        replace(plan, names=("cow",)).drawn()


def test_true_crops_are_squares_of_one_size(plan: PicturePlan) -> None:
    crops = real_crops(plan, ["car", "dog"])
    assert [crop.size for crop in crops["car"]] == [(128, 128)] * 2
    assert crops["dog"] == []


def test_what_cannot_work_is_refused_before_anything_is_drawn(plan: PicturePlan, tmp_path: Path) -> None:
    """A file in the place of the folder, a missing photograph, a set without things to compare with."""
    from dataclasses import replace

    model: Any = None
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot make the folder .*file for --out"):
        draw_and_judge(replace(plan, out=tmp_path / "file"), model, [])
    (tmp_path / "1.png").unlink()
    with pytest.raises(InputError, match=r"'1\.png' is missing"):
        draw_and_judge(plan, model, [])
    bare = replace(plan, truth=replace(plan.truth, annotations=plan.truth.annotations[2:]))
    with pytest.raises(InputError, match="say with --names what to draw"):
        draw_and_judge(bare, model, [])


def test_a_name_without_true_crops_is_drawn_all_the_same(plan: PicturePlan) -> None:
    from dataclasses import replace

    class Strict(Colourist):
        def top(self, pictures: Sequence[Image.Image]) -> list[str]:
            assert pictures, "a model refuses an empty list of pictures"
            return super().top(pictures)

    model: Any = Painter()
    report = draw_and_judge(replace(plan, names=("dog",), options={"steps": 4}), model, [Strict()])
    assert report["judges"]["colourist"]["names"]["dog"] == {"drawn": 1.0, "real": None, "mistaken_for": []}


@pytest.mark.parametrize("colour", COLOURS)
def test_a_colour_is_there_or_not(colour: str) -> None:
    paints = {**PAINT, "orange": (240, 130, 20), "yellow": (240, 220, 30), "green": (40, 160, 60)}
    paints |= {"black": (5, 5, 5), "white": (250, 250, 250)}
    picture = Image.new("RGB", (40, 40), paints[colour])
    assert colour_share(picture, colour) == 1.0
    assert [other for other in COLOURS if has_colour(picture, other)] == [colour]
    assert not any(has_colour(Image.new("RGB", (40, 40), (128, 128, 128)), other) for other in COLOURS)


def test_a_published_detector_judges(tmp_path: Path) -> None:
    """Read from its file; one name of the eighty for each picture; another file is refused."""
    torch.manual_seed(0)
    net = PicoDet()
    save_file(net.state_dict(), tmp_path / "pico.safetensors")
    judge = open_judge(str(tmp_path / "pico.safetensors"), ())
    assert judge.name == "pico"
    assert set(judge.top([Image.new("RGB", (30, 20), "red")] * 3)) < set(COCO_NAMES)
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    for path in (tmp_path / "other.safetensors", tmp_path / "none.safetensors"):
        with pytest.raises(InputError, match="is no file of PicoDet-S weights"):
            open_judge(str(path), ())


def test_the_published_detector_sees_what_it_saw(shared: Path) -> None:
    """Its file loads strictly, and a photograph's largest thing is among what it names."""
    judge = open_judge(str(shared / "data" / "weights" / "picodet_s" / "picodet_s.safetensors"), ())
    truth = read_coco(shared / "data" / "photos" / "val.json")
    plan = PicturePlan(truth, shared / "data" / "photos" / "val", "paint", ("elephant", "stop sign", "pizza"), seeds=6)
    crops = real_crops(plan, plan.names)
    right = [judge.top([crop])[0] == name for name, found in crops.items() for crop in found]
    assert sum(right) / len(right) > 0.5


def test_a_model_judges() -> None:
    class Finder:
        def detect(self, pictures: list[Image.Image], names: list[str], *, threshold: float) -> list[Result]:
            box = Box(xyxy=(0.0, 0.0, 1.0, 1.0))
            low, high = (Object(label=n, score=s, box=box, task="detection") for n, s in (("a", 0.1), ("b", 0.3)))
            return [Result(objects=(low, high)), Result()]

    finder: Any = Finder()
    assert ModelJudge("runs/nano", finder, ["a", "b"]).top([Image.new("RGB", (9, 9))] * 2) == ["b", ""]


def test_only_tasks_that_make_pictures_are_judged(
    plan: PicturePlan, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert not makes_pictures(BoxTask())
    command = ["eval", "--gt", str(tmp_path / "gt.json"), "--images", str(tmp_path)]
    assert run([*command, "--judge", "nano"]) == 2
    assert "give with --task a task that makes pictures" in capsys.readouterr().err


def test_options_are_numbers() -> None:
    from chiasm.cli.measuring.pictures import numbers

    assert numbers(["guidance=2.5", "steps=30"]) == {"guidance": 2.5, "steps": 30}
    for wrong in ("steps", "guidance=nan", "guidance=inf"):
        with pytest.raises(InputError, match="write it as KEY=NUMBER"):
            numbers([wrong])
