"""A contact sheet: rows of small pictures, each row with its title, as one PNG for people to look at."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..drawing.fonts import font_for
from ..files import write_whole

if TYPE_CHECKING:
    from PIL import Image

SIDE, TITLE, GAP, LETTERS = 128, 140, 4, 15  # pixels


def contact_sheet(rows: Sequence[tuple[str, Sequence[Image.Image]]], path: Path) -> None:
    """Write `rows` of (title, pictures) under `path`; pictures are scaled to squares of 128 pixels."""
    from PIL import Image, ImageDraw

    columns = max((len(pictures) for _, pictures in rows), default=0)
    step = SIDE + GAP
    sheet = Image.new("RGB", (TITLE + columns * step, max(1, len(rows)) * step), "white")
    pen = ImageDraw.Draw(sheet)
    for row, (title, pictures) in enumerate(rows):
        font, text = font_for(title, LETTERS)
        pen.text((GAP, row * step + SIDE // 2), text, fill="black", font=font, anchor="lm")
        for column, picture in enumerate(pictures):
            small = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            sheet.paste(small, (TITLE + column * step, row * step))
    file = io.BytesIO()
    sheet.save(file, format="PNG")
    write_whole(path, file.getvalue())
