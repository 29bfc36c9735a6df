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
