"""`chiasm eval`: a model against a COCO annotation file and its photographs, names given or chosen by the model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .measuring.boxes import Boxes, Mode, measure_boxes
from .measuring.measured import Measured, given
from .measuring.own import Own, has_metric, measure_own_task
from .measuring.pictures import Pictures, draws, measure_pictures
from .measuring.referring import Referrals, measure_referrals
from .options import Absent, AsJson, Device, IouType, Judges, ModelName, Numbers, Overlap, TaskFiles


def command(
    context: typer.Context,
    gt: Annotated[Path | None, typer.Option("--gt", help="COCO annotation file: what is there.")] = None,
    images: Annotated[Path, typer.Option("--images", help="Folder of its photographs.")] = Path(),
    model: ModelName = "nano",
    task: Annotated[str | None, typer.Option("--task", help="Task to measure; fits --iou-type by default.")] = None,
    iou_type: Overlap = IouType.bbox,
    mode: Annotated[Mode, typer.Option("--mode", help="All names given, or asked in words.")] = Mode.guided,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N images.")] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, max=64, help="Images at once.")] = 8,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to keep answers in; resumes there.")] = None,
    as_json: AsJson = False,
    device: Device = "cpu",
    prompts: Annotated[Path | None, typer.Option("--prompts", help="Phrasings for --mode free.")] = None,
    skip_missing: Annotated[bool, typer.Option("--skip-missing", help="Go on without unusable photographs.")] = False,
    judge: Judges = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, max=10_000, help="Pictures of each name.")] = 20,
    option: Numbers = None,
    names: Annotated[str | None, typer.Option("--names", help="Names to draw: 'bus, dog'; else the frequent.")] = None,
    referring: Annotated[Path | None, typer.Option("--referring", help="Phrases with masks, instead of --gt.")] = None,
    tasks_from: TaskFiles = None,
    absent: Absent = 0,
    alone: Annotated[bool, typer.Option("--alone", help="With --referring: no task before the one measured.")] = False,
) -> None:
    """Measure a model on COCO-form data: boxes and masks, a task by its own metric, pictures with --judge."""
    measured = Measured(model, device, as_json, tuple(tasks_from or ()), given(context))
    if referring is not None and gt is None:
        phrases = Referrals(referring, images, task or "segmentation", limit, alone=alone, skip_missing=skip_missing)
        return measure_referrals(phrases, measured)
    if gt is None or referring is not None:
        raise _one_of_two()
    if draws(task, judge or []) and task:
        drawn = Pictures(
            gt=gt, images=images, task=task, names=names, seeds=seeds, option=option or [], judge=judge or [], out=out,
            skip_missing=skip_missing,
        )
        return measure_pictures(drawn, measured)
    if task and has_metric(task):
        own = Own(gt=gt, images=images, task=task, limit=limit, absent=absent, skip_missing=skip_missing)
        return measure_own_task(own, measured)
    boxes = Boxes(
        gt=gt, images=images, task=task, iou_type=iou_type, mode=mode, batch_size=batch_size, limit=limit, out=out,
        prompts=prompts, skip_missing=skip_missing,
    )
    return measure_boxes(boxes, measured)


def _one_of_two() -> Exception:
    from chiasm_registry.errors import InputError

    return InputError("give one of --gt FILE and --referring FILE")
