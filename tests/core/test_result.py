"""A result survives JSON, refuses what is damaged, and speaks COCO and supervision without inventing a score."""

from __future__ import annotations

import copy
import json
import os
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from chiasm.answer import make_result
from chiasm.export import save_picture
from chiasm.images import open_image
from chiasm.result import Object, Result
from chiasm_registry.errors import ChiasmError, InputError
from chiasm_registry.geometry import Box, Mask
from chiasm_registry.outputs import Boxes, Notice, ScoredBox, UnknownOutput
from PIL import Image
from pydantic import ValidationError

REGION = np.zeros((40, 60), bool)
REGION[10:20, 5:25] = True
CATALOG = cast(Any, SimpleNamespace(tasks={"detection": SimpleNamespace(spec=SimpleNamespace(output=Boxes))}))


def example() -> Result:
    box = Box(xyxy=(1.5, 2.0, 31.25, 22.0))
    return Result(
        source="cat.jpg",
        size_hw=(40, 60),
        text="a «cat» 猫",
        objects=(
            Object(label="cat", score=0.75, box=box, task="detection", span=(2, 7)),
            Object(label="cup", score=None, mask=Mask.from_numpy(REGION), task="segmentation"),
        ),
        outputs={
            "detection": (Boxes(phrase="cat", items=(ScoredBox(box=box, score=0.75),)), Boxes(phrase="dog")),
            "tilt": (UnknownOutput.model_validate({"phrase": "cat", "degrees": 3.5}),),
        },
        notices=(Notice(text="decoder was slow", task="detection"),),
        timings={"see": 0.01},
    )


def test_json_round_trip_gives_the_same_values_and_classes() -> None:
    result = example()
    again = Result.from_json(result.to_json(), catalog=CATALOG)
    assert again == result
    assert type(again.outputs["detection"][0]) is Boxes
    assert type(again.outputs["tilt"][0]) is UnknownOutput
    assert again.to_json() == result.to_json()


def test_results_are_equal_by_what_they_say_and_not_by_the_image_they_remember() -> None:
    shown = example().remember(Image.new("RGB", (60, 40)))
    assert shown == example() == Result.from_json(shown.to_json(), catalog=CATALOG)
    assert copy.deepcopy(shown) == pickle.loads(pickle.dumps(shown)) == shown
    assert shown != shown.model_copy(update={"text": "else"})
    assert shown != shown.to_json()


def test_without_the_task_every_field_of_an_output_is_kept() -> None:
    empty = cast(Any, SimpleNamespace(tasks={}))
    text = example().to_json()
    again = Result.from_json(text, catalog=empty)
    assert {type(output) for outputs in again.outputs.values() for output in outputs} == {UnknownOutput}
    assert json.loads(again.to_json()) == json.loads(text)


def damaged() -> list[tuple[str, str]]:
    good = example().to_json()
    fields = json.loads(good)
    return [
        ("not json", ":1:1: not JSON"),
        ("[]", "JSON object"),
        (good[:-1] + ',"text":"twice"}', "twice"),
        (good.replace("0.75", "NaN", 1), "NaN"),
        (good.replace("3.5", "1e999", 1), "1e999"),
        (good.replace("chiasm-result/1", "chiasm-result/9"), "chiasm-result/9"),
        ("[" * 100_000, "JSON"),
        (json.dumps({**fields, "extra": 1}), "extra"),
        (json.dumps({**fields, "size_hw": [0, 5]}), "size_hw.0"),
        (json.dumps({**fields, "outputs": []}), "outputs"),
        (good.replace("31.25", "1e308", 1), "objects.0.box.xyxy: a coordinate of more than 2,147,483,648 pixels"),
        (json.dumps({**fields, "size_hw": [40, 61]}), "objects.1 of this result has a mask of 60x40 pixels"),
        (json.dumps({**fields, "outputs": {"detection": [{"phrase": "cat", "items": 5}]}}), "'detection'"),
    ]


@pytest.mark.parametrize(("text", "fact"), damaged(), ids=lambda value: value[:20])
def test_damaged_json_is_refused_in_one_line_that_names_the_place(text: str, fact: str) -> None:
    with pytest.raises(ChiasmError, match=fact.replace("/", ".")) as caught:
        Result.from_json(text, catalog=CATALOG)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 200


def test_a_catalog_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match=r"catalog is what discover\(\) gives, or None, not int"):
        Result.from_json(example().to_json(), catalog=cast(Any, 5))


def test_a_result_is_frozen_and_refuses_numbers_that_are_none() -> None:
    with pytest.raises(ValidationError):
        example().text = "other"
    with pytest.raises(ValidationError):
        Object(label="cat", score=float("nan"), task="detection")


def test_the_source_is_the_file_and_not_its_name_in_messages(tmp_path: Path) -> None:
    path, image = tmp_path / ("long " * 20 + ".png"), Image.new("RGB", (4, 3))
    image.save(path)
    for given, source in ((path, str(path)), (image, None)):
        told: dict[str, Any] = {"notices": [], "tasks": {}, "max_objects": 1, "timings": {}}
        result = make_result(open_image(given), "", [], [], **told)
        assert Result.from_json(result.to_json(), catalog=CATALOG).source == source


def test_labels_are_the_phrases_in_the_order_asked() -> None:
    assert example().labels == ("cat", "dog", "cup")


def test_missing_are_the_phrases_whose_outputs_are_all_empty() -> None:
    assert example().missing == ("dog",)


def test_coco_records_are_xywh_and_an_unknown_score_is_left_out() -> None:
    cat, cup = example().to_coco(7, {"cat": 17, "cup": 47})
    assert cat == {"image_id": 7, "category_id": 17, "bbox": [1.5, 2.0, 29.75, 20.0], "score": 0.75}
    assert "score" not in cup
    assert cup["bbox"] == [5.0, 10.0, 20.0, 10.0]
    assert cup["segmentation"]["size"] == [40, 60]
    assert [record["category_id"] for record in example().to_coco()] == [1, 3]
    with pytest.raises(InputError, match="'cup'"):
        example().to_coco(7, {"cat": 17})
    with pytest.raises(InputError, match="category_ids maps each label to its id, as a dict; list does not"):
        example().to_coco(7, ["cat", "cup"])  # type: ignore[arg-type]


def test_supervision_gets_boxes_masks_names_and_nan_for_no_score() -> None:
    pytest.importorskip("supervision")
    detections = example().to_supervision()
    assert detections.xyxy.tolist() == [[1.5, 2.0, 31.25, 22.0], [5.0, 10.0, 25.0, 20.0]]
    assert detections.confidence is not None
    assert detections.confidence[0] == 0.75
    assert np.isnan(detections.confidence[1])
    assert detections.mask is not None
    assert detections.mask[0].sum() == 0
    assert (detections.mask[1] == REGION).all()
    assert detections.data["class_name"].tolist() == ["cat", "cup"]
    nothing = Result().to_supervision()
    assert (len(nothing), nothing.data["class_name"].tolist()) == (0, [])


def test_masks_of_several_sizes_do_not_become_one_stack() -> None:
    """In JSON that knows no image, and in a result made by hand."""
    pytest.importorskip("supervision")
    masks = [Mask.from_numpy(np.ones(size, bool)) for size in ((4, 5), (5, 4))]
    both = Result(objects=tuple(Object(label="cup", mask=mask, task="segmentation") for mask in masks))
    with pytest.raises(InputError, match="several sizes"):
        both.to_supervision()
    with pytest.raises(InputError, match="a mask of 4x5 pixels, the image has 5x4"):
        Result.from_json(both.to_json(), catalog=CATALOG)


def test_without_supervision_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "supervision", None)
    with pytest.raises(InputError, match=r"chiasm\[supervision\]"):
        example().to_supervision()


def test_crops_are_the_pixels_that_each_box_touches() -> None:
    image = Image.new("RGB", (60, 40))
    assert [crop.size for crop in example().crop(image)] == [(31, 20), (20, 10)]


def test_a_result_without_its_image_says_what_to_do_and_refuses_another_one() -> None:
    with pytest.raises(InputError, match="hand it over"):
        example().plot()
    with pytest.raises(InputError, match="8x4"):
        example().plot(Image.new("RGB", (8, 4)))


def test_saving_goes_by_the_ending_and_leaves_no_other_file(tmp_path: Path) -> None:
    result = example().remember(Image.new("RGB", (60, 40)))
    for name in ("a.png", "b.JPG", "c.webp", "d.json"):
        result.save(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["a.png", "b.JPG", "c.webp", "d.json"]
    assert Result.from_json((tmp_path / "d.json").read_bytes(), catalog=CATALOG) == example()
    for refused in (tmp_path / "e.exe", tmp_path / "nowhere" / "a.png"):
        with pytest.raises(InputError):
            result.save(refused)
    assert len(os.listdir(tmp_path)) == 4


@pytest.mark.parametrize(("size", "ending"), [((17000, 300), "webp"), ((65530, 400), "jpg")])
def test_a_picture_that_a_format_cannot_hold_is_refused_with_the_format_that_can(
    size: tuple[int, int], ending: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=f"of {size[0]}x{size[1]} pixels cannot be saved as .*; save it as .png"):
        save_picture(Image.new("RGB", size), tmp_path / f"x.{ending}")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", [None, 5, b"x.png"])
def test_what_is_no_path_is_nothing_to_save_under(path: Any) -> None:
    with pytest.raises(InputError, match=r"is saved under a path, a str or a pathlib\.Path, not "):
        example().remember(Image.new("RGB", (60, 40))).save(path)
