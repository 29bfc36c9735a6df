"""A whole evaluation with a model that knows the truth: guided, free, interrupted, with photographs missing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chiasm.evaluate.coco import read_coco
from chiasm.evaluate.guided import Guided
from chiasm.evaluate.ranks import Ranks, gather, read_ranks
from chiasm.evaluate.report import as_text
from chiasm.evaluate.results import read_results
from chiasm.evaluate.run import Evaluation, Outcome, Plan
from chiasm.evaluate.score import score_results
from chiasm_registry.errors import InputError
from PIL import Image


def _run(model: Any, **plan: Any) -> Outcome:
    outcome = Evaluation(Plan(**plan), "oracle", Ranks()).run(model)
    assert outcome is not None
    return outcome


def test_guided_finds_what_is_there(photographed: Any, tmp_path: Path) -> None:
    """A model that knows the truth has AP 1; the results file it leaves scores the same."""
    truth, folder, oracle = photographed
    outcome = _run(oracle(truth), truth=truth, images=folder, out=tmp_path / "out", batch_size=5)
    assert outcome.report["bbox"]["AP"] == pytest.approx(1.0)
    assert outcome.report["images"] == len(truth.images)
    assert {"mode", "images", "categories", "timings", "bbox"} <= outcome.report.keys()
    again = score_results(truth, read_results(tmp_path / "out" / "detections.json", truth))
    assert again.stats == outcome.scores.stats
    assert json.loads((tmp_path / "out" / "report.json").read_text())["bbox"] == outcome.report["bbox"]


def test_free_measures_boxes_and_names(photographed: Any) -> None:
    """A model that hears every name is perfect, with AP over the asked names and no false hit."""
    truth, folder, oracle = photographed
    report = _run(oracle(truth), truth=truth, images=folder, mode="free").report
    assert report["bbox"]["AP"] == pytest.approx(1.0)
    assert report["guided_on_same"] == report["bbox"]
    routing = report["routing"]
    assert len(routing) == 18
    for key in ("precision", "recall", "precision_likely", "recall_likely", "precision_all", "recall_all"):
        assert routing[key] == 1.0, key
    assert routing["routed_precision"] < 1.0  # asked names are routed, absent ones too
    assert routing["false_hits_all"] == 0
    assert routing["parse_failures_all"] == 0


def test_free_names_what_is_wrong(photographed: Any) -> None:
    """One thing too many in every picture is a false hit, costs precision, and is a phrase that is no category."""
    truth, folder, oracle = photographed
    routing = _run(oracle(truth, extra="unicorn"), truth=truth, images=folder, mode="free").report["routing"]
    assert routing["false_hits_all"] == 1.0
    assert routing["precision_all"] < 1.0
    assert routing["recall_all"] == 1.0
    assert routing["parse_failures_all"] == len(truth.images)
    assert routing["precision"] == 1.0


@pytest.mark.parametrize("mode", ["guided", "free"])
def test_an_interrupted_evaluation_goes_on(photographed: Any, tmp_path: Path, mode: str) -> None:
    """After an interrupt only the missing images are asked, and the figures are those of an unbroken run."""
    truth, folder, oracle = photographed

    def stop(images: int) -> None:
        raise KeyboardInterrupt

    plan = {"truth": truth, "images": folder, "mode": mode, "batch_size": 5}
    whole = _run(oracle(truth), **plan)
    with pytest.raises(KeyboardInterrupt):
        Evaluation(Plan(**plan, out=tmp_path / "out"), "oracle", Ranks()).run(oracle(truth), stop)
    rest = oracle(truth)
    resumed = _run(rest, **{**plan, "batch_size": 2}, out=tmp_path / "out")
    assert rest.asked == len(truth.images) - 5
    for key in ("bbox", "per_category", "routing", "images"):
        assert resumed.report.get(key) == whole.report.get(key)


@pytest.mark.parametrize("mode", ["guided", "free"])
def test_a_kept_answer_of_another_form_is_damage(photographed: Any, tmp_path: Path, mode: str) -> None:
    """It is found when the folder is opened, and not when all is scored."""
    truth, folder, oracle = photographed
    plan = {"truth": truth, "images": folder, "mode": mode, "out": tmp_path / "out"}
    _run(oracle(truth), **plan)
    part = tmp_path / "out" / "part-0.jsonl"
    header, row, *_ = part.read_text().splitlines()
    image_id = truth.images[0].id
    broken = [{"image_id": image_id}, {**json.loads(row), "rows": [{}]}, {**json.loads(row), "notices": 3}]
    for one in [*broken, {**json.loads(row), "names": {}}] if mode == "free" else broken:
        part.write_text(f"{header}\n{json.dumps(one)}\n")
        with pytest.raises(InputError, match=r"part-0\.jsonl: damaged"):
            Evaluation(Plan(**plan), "oracle", Ranks())


def test_parts_of_several_processes_are_read_by_one(photographed: Any, tmp_path: Path) -> None:
    """What two processes asked is known to a single one that resumes: nothing is left to ask."""
    truth, folder, oracle = photographed
    plan = Plan(truth=truth, images=folder, out=tmp_path / "out")
    for rank in range(2):
        evaluation = Evaluation(plan, "oracle", Ranks(rank, 2))
        assert len(evaluation.todo) in (len(truth.images) // 2, len(truth.images) - len(truth.images) // 2)
        guided = Guided(oracle(truth), truth, ("detection",), "bbox")
        evaluation.parts.add(evaluation._answers(guided, evaluation.todo))
        evaluation.parts.close()
    alone = Evaluation(plan, "oracle", Ranks())
    alone.parts.close()
    assert alone.todo == []


def test_limit_takes_the_first_images(photographed: Any) -> None:
    """--limit N scores the first N images and no truth of others."""
    truth, folder, oracle = photographed
    outcome = _run(oracle(truth), truth=truth, images=folder, limit=4)
    assert outcome.report["images"] == 4
    assert outcome.report["bbox"]["AP"] == pytest.approx(1.0)


def _spoil(folder: Path, kind: str) -> None:
    path = folder / "3.png"
    if kind == "missing":
        path.unlink()
    elif kind == "no image":
        path.write_text("hello")
    elif kind == "other size":
        Image.new("RGB", (10, 10)).save(path)
    elif kind == "truncated":
        path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize("kind", ["missing", "no image", "other size", "truncated"])
def test_an_unusable_photograph_is_named(photographed: Any, kind: str) -> None:
    """Refused by name, or counted with --skip-missing, and then the rest is scored."""
    truth, folder, oracle = photographed
    _spoil(folder, kind)
    with pytest.raises(InputError, match=r"3\.png"):
        _run(oracle(truth), truth=truth, images=folder)
    outcome = _run(oracle(truth), truth=truth, images=folder, skip_missing=True)
    assert outcome.report["skipped"] == 1
    assert outcome.report["images"] == len(truth.images) - 1
    assert outcome.report["bbox"]["AP"] == pytest.approx(1.0)
    assert any("3.png" in note for note in outcome.notes)


def test_a_name_that_no_file_can_have_is_of_a_missing_photograph(photographed: Any) -> None:
    truth, folder, oracle = photographed
    truth = replace(truth, images=(replace(truth.images[0], file_name=f"{'x' * 300}.png"), *truth.images[1:]))
    with pytest.raises(InputError, match=r"x\.png' is missing"):
        _run(oracle(truth), truth=truth, images=folder)
    assert _run(oracle(truth), truth=truth, images=folder, skip_missing=True).report["skipped"] == 1
    with pytest.raises(InputError, match="no such folder of images"):
        _run(oracle(truth), truth=truth, images=folder / ("x" * 300))


def test_refusals_come_before_any_work(photographed: Any, written: Any, drawn: Any, tmp_path: Path) -> None:
    """No folder, no file names, no truth, other pins: one line each, no model needed."""
    truth, folder, _ = photographed
    with pytest.raises(InputError, match="no such folder"):
        Evaluation(Plan(truth=truth, images=tmp_path / "nowhere"), "oracle", Ranks())
    value, _ = drawn()
    for image in value["images"]:
        del image["file_name"]
    with pytest.raises(InputError, match="has no 'file_name'"):
        Evaluation(Plan(truth=read_coco(written("bare.json", value)), images=folder), "oracle", Ranks())
    value["annotations"] = []
    with pytest.raises(InputError, match="nothing to score"):
        Evaluation(Plan(truth=read_coco(written("empty.json", value)), images=folder), "oracle", Ranks())
    Evaluation(Plan(truth=truth, images=folder, out=tmp_path / "out"), "oracle", Ranks()).parts.close()
    with pytest.raises(InputError, match="mode"):
        Evaluation(Plan(truth=truth, images=folder, out=tmp_path / "out", mode="free"), "oracle", Ranks())


def test_what_cannot_be_scored_is_refused_before_it_is_asked(photographed: Any, written: Any, drawn: Any) -> None:
    """No mask where masks are scored, and no single object on the images that are chosen and there."""
    truth, folder, _ = photographed
    value, _ = drawn(seed=3)
    first = next(i for i, a in enumerate(value["annotations"]) if a["image_id"] != value["images"][0]["id"])
    del value["annotations"][first]["segmentation"]
    maskless = read_coco(written("boxes.json", value))
    with pytest.raises(InputError, match=rf"annotations\[{first}\] has no mask"):
        Evaluation(Plan(truth=maskless, images=folder, iou_type="segm"), "oracle", Ranks())
    Evaluation(Plan(truth=maskless, images=folder, iou_type="segm", limit=1), "oracle", Ranks())
    bare = truth.images[0].id
    truth = replace(truth, annotations=tuple(a for a in truth.annotations if a.image_id != bare))
    for image in truth.images[1:]:
        (folder / str(image.file_name)).unlink()
    for chosen in ({"limit": 1}, {"skip_missing": True}):
        with pytest.raises(InputError, match="nothing to score"):
            Evaluation(Plan(truth=truth, images=folder, **chosen), "oracle", Ranks())


def test_the_text_report_never_says_minus_one(photographed: Any) -> None:
    """Twelve lines, a row a category, the routing figures; what cannot be measured is said in words."""
    truth, folder, oracle = photographed
    outcome = _run(oracle(truth), truth=truth, images=folder, mode="free", limit=3)
    text = as_text(outcome.report, outcome.scores)
    assert text.count("Average Precision") == 6
    assert text.count("Average Recall") == 6
    assert "not measurable" in text
    assert "-1" not in text
    assert "routed_precision_likely" in text


def test_ranks_come_from_the_launcher() -> None:
    """One process without a launcher; numbers that do not fit are refused."""
    assert read_ranks({}) == Ranks(0, 1, 0)
    assert read_ranks({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}) == Ranks(1, 2, 1)
    assert Ranks(1, 2, 1).device("cuda") == "cuda:1"
    assert Ranks(0, 1, 0).device("cuda") == "cuda"
    for bad in ({"RANK": "x"}, {"RANK": "2", "WORLD_SIZE": "2"}, {"WORLD_SIZE": "0"}):
        with pytest.raises(InputError, match="torchrun"):
            read_ranks(bad)
    assert gather({1: {}}, Ranks()) == {1: {}}


@pytest.mark.parametrize("changed", ["config.json", "model-2.safetensors", "chiasm.json"])
def test_other_weights_under_the_same_name_are_another_evaluation(
    photographed: Any, tmp_path: Path, changed: str
) -> None:
    """Of a foreign folder, which has no manifest, too."""
    truth, folder, _ = photographed
    model, plan = tmp_path / "foreign", Plan(truth=truth, images=folder, out=tmp_path / "out")
    model.mkdir()
    for name in {"config.json", "model-2.safetensors", changed}:
        (model / name).write_bytes(b"one")
    for _ in range(2):
        Evaluation(plan, str(model), Ranks()).parts.close()
    (model / changed).write_bytes(b"other")
    with pytest.raises(InputError, match=r"holds an evaluation with model '.*foreign@\w{16}', this one has '"):
        Evaluation(plan, str(model), Ranks())


def test_other_task_files_are_another_evaluation(photographed: Any, tmp_path: Path) -> None:
    truth, folder, oracle = photographed
    file, plan = tmp_path / "mine.safetensors", {"truth": truth, "images": folder, "out": tmp_path / "out"}
    file.write_bytes(b"one")
    _run(oracle(truth), **plan, tasks_from=(file,))
    for changed in ({}, {"tasks_from": (file,)}):
        file.write_bytes(b"two")
        with pytest.raises(InputError, match="holds an evaluation with tasks_from 'mine"):
            Evaluation(Plan(**plan, **changed), "oracle", Ranks())
