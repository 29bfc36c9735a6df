"""`chiasm eval`: a model against a COCO annotation file and its photographs, names given or chosen by the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .options import AsJson, Device, IouType, ModelName, Overlap


class Mode(StrEnum):
    """Who says the names."""

    guided = "guided"
    free = "free"


def command(
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
    referring: Annotated[Path | None, typer.Option("--referring", help="Phrases with masks, instead of --gt.")] = None,
) -> None:
    """Measure a model on COCO-form data: twelve lines and a table of categories."""
    if referring is not None or gt is None:
        _refer(gt, referring, images, model, task, limit, as_json, device)
        return
    import json

    import chiasm
    from chiasm.evaluate.coco import read_coco
    from chiasm.evaluate.ranks import read_ranks
    from chiasm.evaluate.report import as_text
    from chiasm.evaluate.run import Evaluation, Plan

    from .start import kept_for_good

    ranks = read_ranks()
    tasks = (task,) if task else ("detection",) if iou_type is IouType.bbox else ("detection", "segmentation")
    plan = Plan(
        truth=read_coco(gt), images=images, mode=mode.value, tasks=tasks, iou_type=iou_type.value,
        batch_size=batch_size, limit=limit, out=out, prompts=prompts, skip_missing=skip_missing,
    )
    evaluation = Evaluation(plan, model, ranks)
    with kept_for_good():
        loaded = chiasm.load(model, device=ranks.device(device))
    with _progress(len(evaluation.todo), shown=ranks.rank == 0) as advance:
        outcome = evaluation.run(loaded, advance)
    if outcome is None:
        return
    _tell([*(notice.text for notice in loaded.notices), *outcome.notes])
    typer.echo(json.dumps(outcome.report, ensure_ascii=False) if as_json else as_text(outcome.report, outcome.scores))


def _refer(
    gt: Path | None, referring: Path | None, images: Path, model: str, task: str | None, limit: int | None,
    as_json: bool, device: str,
) -> None:
    """Phrases with masks: gIoU and cIoU."""
    from chiasm_registry.errors import InputError

    if gt is not None or referring is None:
        raise InputError("give one of --gt FILE and --referring FILE")
    import json

    import chiasm
    from chiasm.evaluate.referring import as_text, measure_referring, read_referring

    from .start import kept_for_good

    truth = read_referring(referring)
    tasks = tuple(part.strip() for part in (task or "segmentation").split(","))
    with kept_for_good():
        loaded = chiasm.load(model, device=device)
    with _progress(len(truth.images[:limit]), shown=True) as advance:
        report = measure_referring(loaded, truth, images, tasks, limit=limit, advance=advance)
    _tell([notice.text for notice in loaded.notices])
    typer.echo(json.dumps(report) if as_json else as_text(report))


def _tell(notes: list[str]) -> None:
    for note in notes:
        typer.echo(f"chiasm: {note}", err=True)


@contextmanager
def _progress(total: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, with the time that is left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not shown or total == 0) as progress:
        bar = progress.add_task("images", total=total)
        yield lambda images: progress.update(bar, advance=images)
