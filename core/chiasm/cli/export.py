"""`chiasm export`: results as files of other tools; and a model that came from an official folder, back to one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from chiasm_registry.errors import InputError, shown_path

OFFICIAL = "official"


class Format(StrEnum):
    """Whose files are written."""

    coco = "coco"
    yolo = "yolo"
    labelme = "labelme"


def command(
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULT.json...", help="What predict --out wrote; or: official SRC DST.")
    ],
    to: Annotated[Format | None, typer.Option("--to", help="One COCO file, YOLO labels, or LabelMe files.")] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Folder to write into.")] = None,
) -> None:
    """Write results as COCO, YOLO-seg or LabelMe files; or a model as an official InternVL2 folder."""
    if str(results[0]) == OFFICIAL and to is None and out is None:
        _official(results[1:])
    elif to is None or out is None:
        raise InputError("say --to coco, yolo or labelme, and --out DIR; or: chiasm export official SRC DST")
    else:
        _results(results, to, out)


def _official(paths: list[Path]) -> None:
    from chiasm.cli.progress import Bytes
    from chiasm.transfer import export_official

    if len(paths) != 2:
        raise InputError("chiasm export official takes two folders: SRC, a model of chiasm, and DST, a new one")
    with Bytes("exporting") as told:
        count, left = export_official(paths[0], paths[1], told=told)
    if left:
        typer.echo(f"left behind, as the official layout has no place for tasks: {', '.join(left)}", err=True)
    typer.echo(f"{count} tensors in {paths[1]}")


def _results(results: list[Path], to: Format, out: Path) -> None:
    from chiasm import Result
    from chiasm.exchange import write_results
    from chiasm.strict_json import read_bytes

    read = {}
    for path in results:
        content = read_bytes(path)
        try:
            read[path.stem] = Result.from_json(content)
        except InputError as fault:  # of several files it must be said which
            raise InputError(f"{shown_path(path, 60)}: {fault}") from None
    if len(read) < len(results):
        raise InputError("two results have the same file name; export them one after the other")
    for path in write_results(read, to.value, out, keep=results):
        typer.echo(path)
