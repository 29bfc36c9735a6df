"""`chiasm plugins new`: a whole project for a new task."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Kind(StrEnum):
    """What a new task answers with; each has templates of its own."""

    boxes = "boxes"
    masks = "masks"
    points = "points"
    image = "image"
    custom = "custom"


def new_plugin(
    name: Annotated[str, typer.Argument(help="What callers write: model.run(NAME, ...).")],
    kind: Annotated[Kind, typer.Option("--kind", help="What it answers with.")] = Kind.custom,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where to; default chiasm-NAME.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Write a project for a new task: package, entry point, tests, README, CI."""
    from chiasm_registry.scaffold import new_project

    folder = new_project(name, kind.value, out)
    files = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), "files": files}, indent=2))
        return
    typer.echo("\n".join(str(folder / file) for file in files))
    typer.echo(f"next: pip install -e '{folder}[test]' && pytest {folder}", err=True)
