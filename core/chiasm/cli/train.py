"""`chiasm train`: one config, one folder; run again, it goes on where it was cut."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="What to train, on what, how long.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the run; runs/NAME-OF-CONFIG without it.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the run the folder holds, or set it aside.")] = True,
    limit_steps: Annotated[int | None, typer.Option(min=1, help="End at this step, on the config's schedule.")] = None,
    task: Annotated[str | None, typer.Option(metavar="NAME", help="Train this task alone; all else stays.")] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a value.")] = None,
) -> None:
    """Train a model by a config; cut at any moment, the same command goes on."""
    from chiasm.train.config import load_config

    settings = load_config(config, [*(changes or ()), *([f"alone={task}"] if task else [])])
    from .start import stopped_at_once

    with stopped_at_once():
        from chiasm.train.processes import leave_world
        from chiasm.train.trainer import train

    try:
        finished = train(settings, out or Path("runs") / config.stem, resume=resume, limit_steps=limit_steps)
    finally:
        leave_world()
    for line in finished.lines:
        typer.echo(line)
    if finished.interrupted:
        typer.echo(f"stopped at step {finished.steps}; the same command goes on from there", err=True)
        raise KeyboardInterrupt
