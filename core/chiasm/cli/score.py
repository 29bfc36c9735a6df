"""`chiasm score`: a COCO result file against a COCO annotation file, figures as pycocotools has them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, GroundTruth, IouType, Overlap


def command(
    gt: GroundTruth,
    dt: Annotated[Path, typer.Option("--dt", help="COCO result file: what was found.", show_default=False)],
    iou_type: Overlap = IouType.bbox,
    as_json: AsJson = False,
) -> None:
    """Score a COCO result file: twelve lines and a table of categories."""
    import json
    import time

    from chiasm.evaluate.coco import read_coco
    from chiasm.evaluate.report import as_object, as_text
    from chiasm.evaluate.results import read_results
    from chiasm.evaluate.score import score_results

    started = time.perf_counter()
    truth = read_coco(gt)
    results = read_results(dt, truth, iou_type.value)
    was_read = time.perf_counter()
    for note in truth.notes:
        typer.echo(f"chiasm: {note}", err=True)
    scores = score_results(truth, results, iou_type.value)
    timings = {"read_s": was_read - started, "score_s": time.perf_counter() - was_read}
    report = as_object(scores, mode="score", images=len(truth.images), timings=timings)
    typer.echo(json.dumps(report) if as_json else as_text(report, scores))
