"""`chiasm eval`: a model against a COCO annotation file and its photographs, names given or chosen by the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Absent, AsJson, Device, IouType, Judges, ModelName, Numbers, Overlap, TaskFiles

if TYPE_CHECKING:
    from chiasm.evaluate.pictures import PicturePlan
    from chiasm.evaluate.run import Plan


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
    from chiasm.evaluate.coco import read_coco
    from chiasm.evaluate.pictures import PicturePlan
    from chiasm.evaluate.run import Plan

    from .own import has_metric, measure_own_task
    from .referring import Referrals, measure

    if referring is not None and gt is None:
        asked = Referrals(referring, images, task or "segmentation", limit, alone)
        return measure(asked, model, device, as_json=as_json, progress=_seen)
    if gt is None or referring is not None:
        raise _one_of_two()
    if _draws(task, judge):
        said = _listed(names), seeds, out, skip_missing, _options(option)
        return _judge(PicturePlan(read_coco(gt), images, str(task), *said), model, judge or [], device, as_json=as_json)
    if has_metric(task):
        mine = (gt, images, limit, absent, skip_missing)
        return measure_own_task(mine, task, model, device, tasks_from, as_json, _seen)
    tasks = (task,) if task else ("detection",) if iou_type is IouType.bbox else ("detection", "segmentation")
    how = (mode.value, tasks, iou_type.value, batch_size, limit, out, prompts, skip_missing)
    return _score(Plan(read_coco(gt), images, *how), model, device, tasks_from or (), as_json=as_json)


def _score(plan: Plan, model: str, device: str, tasks_from: Sequence[Path], *, as_json: bool) -> None:
    """Boxes and masks: twelve lines and a table of categories."""
    import json

    import chiasm
    from chiasm.evaluate.ranks import read_ranks
    from chiasm.evaluate.report import as_text
    from chiasm.evaluate.run import Evaluation

    from .start import kept_for_good

    ranks = read_ranks()
    evaluation = Evaluation(plan, model, ranks)
    with kept_for_good():
        loaded = chiasm.load(model, device=ranks.device(device), tasks_from=tasks_from)
    with _progress(len(evaluation.todo), shown=ranks.rank == 0) as advance:
        outcome = evaluation.run(loaded, advance)
    if outcome is None:
        return
    for note in (*(notice.text for notice in loaded.notices), *outcome.notes):
        typer.echo(f"chiasm: {note}", err=True)
    typer.echo(json.dumps(outcome.report, ensure_ascii=False) if as_json else as_text(outcome.report, outcome.scores))


def _seen(total: int) -> AbstractContextManager[Callable[[int], None]]:
    return _progress(total, shown=True)


def _listed(names: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",")) if names else ()


def _one_of_two() -> Exception:
    from chiasm_registry.errors import InputError

    return InputError("give one of --gt FILE and --referring FILE")


def _draws(task: str | None, judges: list[str] | None) -> bool:
    """Whether the task makes pictures; those want judges, and nothing else does."""
    from chiasm_registry.discovery import discover
    from chiasm_registry.errors import InputError

    from chiasm.evaluate.pictures import makes_pictures

    drawn = task is not None and makes_pictures(discover().task(task))
    if drawn and not judges:
        raise InputError(f"task {task!r} makes pictures: say with --judge which detector names what they show")
    if judges and not drawn:
        raise InputError("--judge names what pictures show; give with --task a task that makes pictures")
    return drawn


def _options(given: list[str] | None) -> dict[str, float]:
    """Options of a task as they are typed: "guidance=3"."""
    from chiasm_registry.errors import InputError, shown

    found: dict[str, float] = {}
    for text in given or ():
        key, _, value = text.partition("=")
        try:
            found[key] = int(value) if value.lstrip("-").isdigit() else float(value)
        except ValueError:
            raise InputError(f"--option {shown(text, 40)}: write it as KEY=NUMBER, as in guidance=3") from None
    return found


def _judge(plan: PicturePlan, model: str, judges: list[str], device: str, *, as_json: bool) -> None:
    """Pictures: a line a name and a judge, and how often a colour asked for is there."""
    import json

    import chiasm
    from chiasm.evaluate.judges import open_judge
    from chiasm.evaluate.pictures import as_lines, draw_and_judge

    from .start import kept_for_good

    with kept_for_good():
        asked = [open_judge(path, [category.name for category in plan.truth.categories], device) for path in judges]
        loaded = chiasm.load(model, device=device, tasks=[plan.task])
    with _progress(plan.count(), shown=True, what="pictures") as advance:
        report = draw_and_judge(plan, loaded, asked, advance)
    for notice in loaded.notices:
        typer.echo(f"chiasm: {notice.text}", err=True)
    typer.echo(json.dumps(report, ensure_ascii=False) if as_json else "\n".join(as_lines(report)))


@contextmanager
def _progress(total: int, *, shown: bool, what: str = "images") -> Iterator[Callable[[int], None]]:
    """A bar on stderr, with the time that is left."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not shown or total == 0) as progress:
        bar = progress.add_task(what, total=total)
        yield lambda images: progress.update(bar, advance=images)
