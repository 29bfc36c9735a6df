"""`chiasm export`: results that `predict --out` wrote, as files of other tools."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from chiasm_registry.errors import InputError, shown_path


class Format(StrEnum):
    """Whose files are written."""

    coco = "coco"
    yolo = "yolo"
    labelme = "labelme"


def command(
    results: Annotated[list[Path], typer.Argument(metavar="RESULT.json", help="Files that predict --out wrote.")],
    to: Annotated[Format, typer.Option("--to", help="One COCO file, YOLO labels, or a LabelMe file an image.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to write into.")],
) -> None:
    """Write results as COCO, YOLO-seg or LabelMe files."""
    from chiasm import Result
    from chiasm.exchange import write_results

    read = {}
    for path in results:
        try:
            read[path.stem] = Result.from_json(path.read_bytes())
        except OSError:
            raise InputError(f"cannot read the result {shown_path(path)}; name what predict --out wrote") from None
    if len(read) < len(results):
        raise InputError("two results have the same file name; export them one after the other")
    for path in write_results(read, to.value, out):
        typer.echo(path)
