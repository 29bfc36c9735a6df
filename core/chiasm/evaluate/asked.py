"""Names that a model will be asked for: what it would refuse is refused with its row, when the file is read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from unicodedata import normalize

from chiasm_registry.errors import InputError, shown

from ..limits import LIMITS
from ..text import check_text
from .coco import CocoSet, read_coco


def read_asked(path: str | Path) -> CocoSet:
    """`read_coco` of a file whose category names are asked."""
    truth = read_coco(path)
    check_asked(truth.name, "categories", "name", ((0, category.name) for category in truth.categories))
    return truth


def check_asked(name: str, what: str, key: str, asked: Iterable[tuple[int, str]]) -> None:
    """An InputError for a text that is blank or too long, or is the same as another of those asked in one call.

    `asked` are number of the call and text, row by row. Texts that differ only in composition (NFC) are the same.
    """
    first: dict[tuple[int, str], int] = {}
    for index, (call, text) in enumerate(asked):
        check_text(text, f"{name}: {what}[{index}]: {key}", max_chars=LIMITS.phrase_chars)
        before = first.setdefault((call, normalize("NFC", text)), index)
        if before != index:
            places = f"{what}[{before}] and {what}[{index}]"
            raise InputError(f"{name}: {places} have the same {key} {shown(repr(text), 60)}; give each once")
