"""Scoring equals pycocotools on honest files, and outlives its own process."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chiasm.evaluate import score
from chiasm.evaluate.coco import read_coco
from chiasm.evaluate.results import read_results
from chiasm.evaluate.score import score_results
from chiasm.limits import LIMITS
from chiasm_registry.errors import ChiasmError, InputError
from pace import fastest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def _plain(gt: Path, dt: Path, iou_type: str) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(gt))
        run = COCOeval(truth, truth.loadRes(str(dt)), iou_type)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
@pytest.mark.parametrize("form", ["boxes", "masks", "both"])
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_pycocotools_on_honest_files(drawn: Any, written: Any, iou_type: str, form: str, seed: int) -> None:
    """All twelve figures and every category's AP are pycocotools' own, to 1e-12."""
    if iou_type == "segm" and form == "boxes":
        pytest.skip("boxes alone are refused as masks")
    value, rows = drawn(seed)
    dropped = {"boxes": "segmentation", "masks": "bbox", "both": ""}[form]
    rows = [{key: part for key, part in row.items() if key != dropped} for row in rows]
    gt, dt = written("gt.json", value), written("dt.json", rows)
    truth = read_coco(gt)
    scores = score_results(truth, read_results(dt, truth, iou_type), iou_type)
    plain = _plain(gt, dt, iou_type)
    assert list(scores.stats.values()) == pytest.approx([s if s >= 0 else None for s in plain.stats], abs=1e-12)
    for place, row in enumerate(scores.per_category):
        precision = plain.eval["precision"][:, :, place, 0, 2]
        expected = precision[precision > -1].mean() if (precision > -1).any() else None
        assert row.ap == (pytest.approx(expected, abs=1e-12) if expected is not None else None)


def test_annotation_id_zero_scores_as_any_other(drawn: Any, written: Any) -> None:
    """Perfect answers score 1.0 though the file counts its annotations from 0, which pycocotools takes for no match."""
    value, _ = drawn()
    value["annotations"] = [{**a, "id": i, "iscrowd": 0} for i, a in enumerate(value["annotations"])]
    rows = [
        {"image_id": a["image_id"], "category_id": a["category_id"], "bbox": a["bbox"], "score": 0.5}
        for a in value["annotations"]
    ]
    truth = read_coco(written("gt.json", value))
    assert score_results(truth, read_results(written("dt.json", rows), truth)).stats["AP"] == pytest.approx(1.0)


def test_no_detections_score_zero(drawn: Any, written: Any) -> None:
    """An empty result is worth 0, a name without truth is not measurable, and nothing is -1."""
    truth = read_coco(written("gt.json", drawn()[0]))
    scores = score_results(truth, [])
    assert scores.stats["AP"] == 0.0
    assert scores.per_category[-1].ap is None
    assert all(value is None or value >= 0 for value in scores.stats.values())


def test_crowds_alone_are_nothing_to_score(drawn: Any, written: Any) -> None:
    """A truth of crowds is refused in place of a figure."""
    value, _ = drawn()
    value["annotations"] = [{**a, "iscrowd": 1} for a in value["annotations"]]
    with pytest.raises(InputError, match="nothing to score"):
        score_results(read_coco(written("gt.json", value)), [])


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "died by SIGSEGV"),
        ("import time; time.sleep(60)", "did not end within 0.5 s"),
        ("raise MemoryError", "failed in its own process"),
    ],
)
def test_the_scoring_process_may_die(
    drawn: Any, written: Any, monkeypatch: pytest.MonkeyPatch, program: str, message: str
) -> None:
    """A signal, a hang and an exception in the child are one typed line here."""
    monkeypatch.setattr(score, "_RUN", program)
    truth = read_coco(written("gt.json", drawn()[0]))
    with pytest.raises(ChiasmError, match=message) as caught:
        score_results(truth, [], "bbox", replace(LIMITS, score_s=0.5))
    assert "\n" not in str(caught.value)


def test_pairs_that_were_not_asked_do_not_count(drawn: Any, written: Any) -> None:
    """Restricting a truth to pairs leaves the annotations of those pairs alone."""
    truth = read_coco(written("gt.json", drawn()[0]))
    first = truth.annotations[0]
    pair = first.image_id, first.category_id
    kept = truth.only_pairs({pair}).annotations
    assert kept
    assert {(a.image_id, a.category_id) for a in kept} == {pair}


def test_a_real_set_is_read_in_a_second(shared: Path) -> None:
    """6,549 annotations with polygons and masks take less than a second of processor time."""
    path = shared / "data" / "photos" / "val.json"
    assert fastest(lambda: read_coco(path)) < 1.0
    truth = read_coco(path)
    assert len(truth.annotations) == 6549
    assert truth.annotations[0].id == 1
