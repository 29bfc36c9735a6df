"""Scoring by pycocotools in a child process with a time limit; refuses a truth in which nothing can be scored."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chiasm_registry.errors import ChiasmError, InputError

from ..limits import LIMITS, Limits
from .coco import CocoAnnotation, CocoSet
from .results import Detection

_LOG = logging.getLogger(__name__)
# -I keeps the working folder and the environment out of the child's imports; the caller's own path is handed over.
_RUN = "import sys; sys.path[:] = sys.argv[1].split(sys.argv[2]); from chiasm.evaluate.child import main; main()"


@dataclass(frozen=True, slots=True)
class CategoryScore:
    """One name's average precision; None where the truth has none of it."""

    name: str
    boxes: int  # in the truth, crowds left out
    ap: float | None
    ap50: float | None


@dataclass(frozen=True, slots=True)
class Scores:
    """COCO's twelve figures by name (`child.STATS`), and each category; None means not measurable."""

    iou_type: str
    stats: dict[str, float | None]
    per_category: tuple[CategoryScore, ...]


def score_results(
    truth: CocoSet, results: Sequence[Detection], iou_type: str = "bbox", limits: Limits = LIMITS
) -> Scores:
    """What plain pycocotools makes of these; an InputError when there is nothing to score."""
    check_scorable(truth, iou_type)
    job = {"iou_type": iou_type, "truth": _dataset(truth, iou_type), "results": [_result(d, iou_type) for d in results]}
    answer = _in_child(json.dumps(job, allow_nan=False), limits.score_s)
    boxes = {category.id: 0 for category in truth.categories}
    for annotation in truth.annotations:
        boxes[annotation.category_id] += not annotation.crowd
    per_category = []
    for category in truth.categories:
        figures = answer["per_category"][str(category.id)]
        per_category.append(CategoryScore(category.name, boxes[category.id], figures["AP"], figures["AP50"]))
    return Scores(iou_type, answer["stats"], tuple(per_category))


def check_scorable(truth: CocoSet, iou_type: str) -> None:
    """An InputError when there is nothing to score, or no mask where masks are scored."""
    if iou_type not in ("bbox", "segm"):
        raise InputError(f"iou_type must be bbox or segm, not {iou_type!r}")
    if all(annotation.crowd for annotation in truth.annotations):
        raise InputError(f"{truth.name}: nothing to score: no annotation of the chosen images is a single object")
    maskless = next((a for a in truth.annotations if a.mask is None), None) if iou_type == "segm" else None
    if maskless is not None:
        place = f"annotations[{maskless.id - 1}]"  # ids count from 1 in the order of the file
        raise InputError(f"{truth.name}: {place} has no mask; --iou-type segm wants all masks")


def _dataset(truth: CocoSet, iou_type: str) -> dict[str, Any]:
    return {
        "images": [{"id": i.id, "height": i.size_hw[0], "width": i.size_hw[1]} for i in truth.images],
        "categories": [{"id": c.id, "name": c.name} for c in truth.categories],
        "annotations": [_annotation(a, iou_type) for a in truth.annotations],
    }


def _annotation(annotation: CocoAnnotation, iou_type: str) -> dict[str, Any]:
    row = {
        "id": annotation.id, "image_id": annotation.image_id, "category_id": annotation.category_id,
        "bbox": annotation.bbox_xywh, "area": annotation.area, "iscrowd": int(annotation.crowd),
    }
    return {**row, "segmentation": annotation.mask} if iou_type == "segm" else row


def _result(detection: Detection, iou_type: str) -> dict[str, Any]:
    row = detection.row()
    if iou_type == "bbox" and "bbox" in row:
        row.pop("segmentation", None)
    return row


def _in_child(job: str, time_limit_s: float) -> dict[str, Any]:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-c", _RUN, path, os.pathsep],
            input=job, capture_output=True, text=True, encoding="utf-8", timeout=time_limit_s, check=False,
        )
    except subprocess.TimeoutExpired:
        raise ChiasmError(f"scoring did not end within {time_limit_s:g} s and was stopped; use fewer images") from None
    if child.returncode < 0:
        raise ChiasmError(f"scoring died by {_signal(-child.returncode)} in its own process; nothing was scored")
    if child.returncode > 0:
        _LOG.debug("the scoring process said:\n%s", child.stderr)
        raise ChiasmError(f"scoring failed in its own process (exit status {child.returncode}); nothing was scored")
    answer: dict[str, Any] = json.loads(child.stdout)
    return answer


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
