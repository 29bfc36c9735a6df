"""`chiasm eval --referring`: phrases with masks, gIoU and cIoU."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import typer

Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]


def measure(
    referring: Path, images: Path, model: str, task: str | None, limit: int | None, device: str, *,
    as_json: bool, progress: Progress,
) -> None:
    """Ask every phrase of the file of its photograph and say how well the masks fit."""
    import json

    import chiasm
    from chiasm.evaluate.referring import as_text, measure_referring, read_referring

    from .start import kept_for_good

    truth = read_referring(referring)
    tasks = tuple(part.strip() for part in (task or "segmentation").split(","))
    with kept_for_good():
        loaded = chiasm.load(model, device=device)
    with progress(len(truth.images[:limit])) as advance:
        report = measure_referring(loaded, truth, images, tasks, limit=limit, advance=advance)
    for notice in loaded.notices:
        typer.echo(f"chiasm: {notice.text}", err=True)
    typer.echo(json.dumps(report) if as_json else as_text(report))
