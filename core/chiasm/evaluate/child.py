"""The process in which pycocotools runs: reads one JSON object from stdin, writes one to stdout, refuses nothing.

What arrives was checked by `coco` and `results`; a crash or a hang in native code ends here and not in the caller.
"""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from typing import Any

STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")


def main() -> None:
    """Score what stdin says."""
    answer_to = sys.stdout
    with redirect_stdout(sys.stderr):  # pycocotools talks while it works
        answer = evaluate(json.load(sys.stdin))
    json.dump(answer, answer_to)


def evaluate(job: dict[str, Any]) -> dict[str, Any]:
    """pycocotools' twelve figures and AP, AP50 of each category id; None where there was nothing to find."""
    from pycocotools.cocoeval import COCOeval

    truth = _index(job["truth"])
    results = truth.loadRes(job["results"]) if job["results"] else _index({**job["truth"], "annotations": []})
    run = COCOeval(truth, results, job["iou_type"])
    run.evaluate()
    run.accumulate()
    run.summarize()
    precision = run.eval["precision"][:, :, :, 0, 2]  # thresholds, recalls, categories; all areas, 100 an image
    return {
        "stats": {name: _figure(value) for name, value in zip(STATS, run.stats, strict=True)},
        "per_category": {
            str(category): {"AP": _mean(precision[:, :, place]), "AP50": _mean(precision[0, :, place])}
            for place, category in enumerate(run.params.catIds)
        },
    }


def _index(dataset: dict[str, Any]) -> Any:
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = dataset
    coco.createIndex()
    return coco


def _mean(precision: Any) -> float | None:
    measured = precision[precision > -1]
    return float(measured.mean()) if measured.size else None


def _figure(value: float) -> float | None:
    return float(value) if value >= 0 else None  # -1 says "no ground truth", which is not a score
