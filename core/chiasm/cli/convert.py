"""`chiasm convert`: weights that others published, as files of chiasm; pickles are read and never run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import ModelName

app = typer.Typer(help="Make files of chiasm from others' weights.", no_args_is_help=True)


@app.callback()
def _convert() -> None:
    """Make files of chiasm from others' weights."""


@app.command("sam")
def sam(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A .pth file of segment-anything.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The task file to write, NAME.safetensors.")],
    model: ModelName = "nano",
) -> None:
    """Segment Anything (vit_b, vit_l, vit_h) as a task file for `chiasm.load(..., tasks_from=[OUT])`."""
    from chiasm.checkpoint.sam import convert_sam
    from chiasm.models import model_folder

    count = convert_sam(checkpoint, out, model_folder(model))
    typer.echo(f"{count} tensors in {out}; load them with chiasm.load({model!r}, tasks_from=[{str(out)!r}])")


@app.command("internvl2")
def internvl2(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A folder in the official InternVL2 layout.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="The folder to write.")],
    follow_links: Annotated[bool, typer.Option("--follow-links", help="Read files that are links.")] = False,
) -> None:
    """An official InternVL2 folder as a folder of chiasm; `chiasm export official` is the way back."""
    from chiasm.cli.progress import Bytes
    from chiasm.transfer import convert_internvl2

    with Bytes("converting") as told:
        count = convert_internvl2(source, target, follow_links=follow_links, told=told)
    typer.echo(f"{count} tensors in {target}; load them with chiasm.load({str(target)!r})")


@app.command("join")
def join(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="An embedded model's name, or a model folder.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Task files, NAME.safetensors.")],
    out: Annotated[Path, typer.Option("--out", help="The model folder to write.")],
) -> None:
    """A model folder with the tasks of the files beside its own."""
    from chiasm.checkpoint.joining import add_tasks
    from chiasm.models import model_folder

    tasks = add_tasks(model_folder(model), files, out)
    typer.echo(f"{out} has the tasks {', '.join(tasks)}; load it with chiasm.load({str(out)!r})")
