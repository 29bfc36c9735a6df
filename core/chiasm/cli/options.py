"""Options that several commands share, said once: `gt: GroundTruth` in a command's signature is `--gt`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class IouType(StrEnum):
    """What overlap is measured on."""

    bbox = "bbox"
    segm = "segm"


GroundTruth = Annotated[Path, typer.Option("--gt", help="COCO annotation file: what is there.", show_default=False)]
Overlap = Annotated[IouType, typer.Option("--iou-type", help="Score boxes or masks.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
ModelName = Annotated[str, typer.Option("--model", metavar="NAME", help="A built-in model or a checkpoint folder.")]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="cpu, cuda, cuda:1 ...")]
Judges = Annotated[
    list[str] | None, typer.Option("--judge", help="For pictures: PicoDet-S weights or a model; repeatable.")
]
Numbers = Annotated[
    list[str] | None, typer.Option("--option", metavar="KEY=NUMBER", help="For pictures: an option of the task.")
]
TaskFiles = Annotated[list[Path] | None, typer.Option("--tasks-from", help="A task's file; repeatable.")]
Absent = Annotated[int, typer.Option("--absent", min=0, help="For a task's own metric: absent names too.")]
