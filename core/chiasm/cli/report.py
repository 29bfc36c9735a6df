"""What `predict` leaves behind: lines or JSON on stdout, a picture and a JSON file an image in the folder asked for.

No input is ever overwritten, and two images of the same name get two names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from chiasm_registry.errors import InputError, shown, shown_path

from .errors import BAD_INPUT, complain

if TYPE_CHECKING:
    from chiasm.result import Object, Result

_STEM_BYTES = 180  # room for an ending within a file name's 255


class Report:
    """Takes results one by one; `close` prints the JSON when that was asked for, and leaves with 2 if one was bad."""

    def __init__(self, folder: Path | None, images: Sequence[str], *, as_json: bool) -> None:
        self._folder = _made(folder)
        self._inputs = {os.path.realpath(image) for image in images}
        self._taken: set[str] = set()
        self._rows: list[object] = []
        self._bad = 0
        self._as_json, self._several = as_json, len(images) > 1

    def add(self, source: str, answer: Result | InputError) -> None:
        """Write the files of one result and print its lines, or name on stderr the image that gave none."""
        try:
            if isinstance(answer, InputError):
                raise answer
            result = answer.model_copy(update={"source": source.encode("utf-8", "replace").decode()})
            target = self._write(source, result) if self._folder is not None else None
        except InputError as fault:  # of this image or of its files; the others are looked at
            self._bad += 1
            message = str(fault)
            complain(message if shown_path(source) in message else f"{shown_path(source)}: {message}")
            return
        if self._as_json:
            self._rows.append(json.loads(result.to_json()))
        else:
            typer.echo("\n".join(_lines(source, result, target)))

    def close(self) -> None:
        """Print the JSON of all results: one object for one image, an array for several."""
        if self._as_json and (self._several or self._rows):
            typer.echo(json.dumps(self._rows if self._several else self._rows[0]))  # ASCII: safe in any terminal
        if self._bad:
            raise typer.Exit(BAD_INPUT)

    def _write(self, source: str, result: Result) -> Path:
        picture = self._free_name(source)
        record = picture.with_suffix(".json")
        result.save(record)
        try:
            result.save(picture)
        except BaseException:
            record.unlink(missing_ok=True)  # half a pair would look like a whole one
            raise
        return picture

    def _free_name(self, source: str) -> Path:
        assert self._folder is not None
        stem = Path(source).stem
        while len(os.fsencode(stem)) > _STEM_BYTES:
            stem = stem[:-1]
        count = 1
        while True:
            name = stem if count == 1 else f"{stem}-{count}"
            paths = [self._folder / f"{name}{ending}" for ending in (".png", ".json")]
            if name.casefold() not in self._taken and not self._inputs & {os.path.realpath(path) for path in paths}:
                self._taken.add(name.casefold())
                return paths[0]
            count += 1


def _made(folder: Path | None) -> Path | None:
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError):
            where = shown_path(folder)
            raise InputError(f"cannot make the folder {where} for --out; is a file in its place?") from None
    return folder


def _lines(source: str, result: Result, target: Path | None) -> Iterator[str]:
    size = "" if result.size_hw is None else f"  {result.size_hw[1]}x{result.size_hw[0]}"
    yield f"{shown_path(source, 200)}{size}" + ("" if target is None else f"  -> {shown_path(target, 200)}")
    for line in result.text.splitlines():
        yield f"  {shown(line, 2000)}"
    yield from found_lines(result)


def found_lines(result: Result) -> Iterator[str]:
    """A line for each object, then what was not found if no text says it, then the notices."""
    width = max((len(shown(thing.label, 40)) for thing in result.objects), default=0)
    for thing in result.objects:
        yield "  " + _object_line(thing, width)
    if result.missing and not result.text:
        yield f"  not found: {', '.join(shown(label, 40) for label in result.missing)}"
    for notice in result.notices:
        yield f"  note: {shown(notice.text, 400)}"


def _object_line(thing: Object, width: int) -> str:
    score = "    " if thing.score is None else f"{thing.score:.2f}"
    box = thing.place()
    place = "" if box is None else "  at " + " ".join(f"{v:.0f}" for v in box.xyxy)
    return f"{shown(thing.label, 40):<{width}}  {score}{place}" + ("  with mask" if thing.mask is not None else "")
