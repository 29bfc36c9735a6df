"""`chiasm predict`: find or outline named things in pictures, or ask about them; draws, writes, prints."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from unicodedata import normalize

import typer
from chiasm_registry.errors import ChiasmError, InputError, shown, shown_path

from .options import Device, ModelName

if TYPE_CHECKING:
    from chiasm.result import Result

_AT_ONCE = 8  # images of one call


def command(
    images: Annotated[list[str], typer.Argument(metavar="IMAGE", help="Picture files.")],
    find: Annotated[
        list[str] | None, typer.Option(metavar="NAMES", help="What to find: 'cat, red cup'; may be repeated.")
    ] = None,
    outline: Annotated[
        list[str] | None, typer.Option(metavar="NAMES", help="What to outline by masks: 'dog, cat'; may be repeated.")
    ] = None,
    names: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file of names, one a line; commas belong to the name.")
    ] = None,
    ask: Annotated[str | None, typer.Option(metavar="TEXT", help="Say it in words; the model decides.")] = None,
    model: ModelName = "nano",
    threshold: Annotated[
        float | None, typer.Option(metavar="SCORE", min=0, max=1, help="Least score that is shown.")
    ] = None,
    max_objects: Annotated[int, typer.Option(metavar="N", min=1, help="Most objects an image.")] = 100,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a picture and a JSON file for each image.")
    ] = None,
    device: Device = "cpu",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: an object, or an array for several images.")
    ] = False,
) -> None:
    """Find or outline named things in pictures, or ask about them."""
    phrases = _phrases(find, outline, names, ask)
    from .progress import Progress
    from .report import Report
    from .start import kept_for_good

    report = Report(out, images, as_json=as_json)
    with Progress(len(images), "loading the model") as progress:
        with kept_for_good():
            import chiasm

            loaded = chiasm.load(model, device=device, tasks=_wanted(ask, outline))
        progress.say("looking")
        verb = loaded.ask if ask is not None else loaded.segment if outline else loaded.detect
        asked = partial(verb, threshold=threshold, max_objects=max_objects)
        for source, answer in _answers(asked, images, phrases or ask or ""):
            with progress.step():
                report.add(source, answer)
    report.close()


def _wanted(ask: str | None, outline: list[str] | None) -> list[str] | None:
    """The tasks to load: what is not asked for costs nothing; a question may want any."""
    if ask is not None:
        return None
    return ["detection", "segmentation"] if outline else ["detection"]


def _phrases(find: list[str] | None, outline: list[str] | None, names: Path | None, ask: str | None) -> list[str]:
    """The names to find or to outline; empty when something is asked instead."""
    if sum(given is not None and given != [] for given in (find, outline, names, ask)) != 1:
        raise InputError("give exactly one of --find NAMES, --outline NAMES, --names FILE and --ask TEXT")
    if names is not None:
        return _read_names(names)
    option, parts = ("--outline", outline) if outline else ("--find", find or [])
    phrases = [name.strip() for part in parts for name in part.split(",")]
    if parts and not all(phrases):
        raise InputError(f"{option} {shown(', '.join(parts))!r} holds an empty name; write it as 'cat, red cup'")
    return each_once(phrases)


def each_once(names: Iterable[str]) -> list[str]:
    """In order; names that differ only in composition (NFC) are the same, and the first of them stays."""
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(normalize("NFC", name), name)
    return list(first.values())


def _read_names(path: Path) -> list[str]:
    from chiasm.limits import LIMITS

    most = LIMITS.phrases * (4 * LIMITS.phrase_chars + 2)
    try:
        if not os.path.isfile(path):  # a pipe would hold us here
            raise OSError
        with path.open("rb") as file:
            content = file.read(most + 1)
        lines = content.decode("utf-8-sig").split("\n")
    except OSError:
        cure = "it must be a regular text file that you may read"
        raise InputError(f"cannot read the names file {shown_path(path)}; {cure}") from None
    except UnicodeDecodeError:
        raise InputError(f"the names file {shown_path(path)} is not UTF-8 text") from None
    if len(content) > most:
        raise InputError(f"the names file {shown_path(path)} is larger than {most:,} bytes")
    phrases = [line.strip() for line in lines if line.strip()]
    if not phrases:
        raise InputError(f"the names file {shown_path(path)} holds no name; write one a line")
    return each_once(phrases)


def _answers(
    verb: Callable[..., list[Result]], images: Sequence[str], words: str | Sequence[str]
) -> Iterator[tuple[str, Result | InputError]]:
    """Each image's name with its result, or with what is wrong with it; images go in small batches."""
    for start in range(0, len(images), _AT_ONCE):
        batch = list(images[start : start + _AT_ONCE])
        faults: dict[str, InputError] = {}
        try:
            results = verb(batch, words)
        except ChiasmError:
            faults = _faults(batch)
            if not faults:  # it was not an image
                raise
            good = [source for source in batch if source not in faults]
            results = verb(good, words) if good else []
        answers = iter(results)
        for source in batch:
            yield source, faults[source] if source in faults else next(answers)


def _faults(sources: Sequence[str]) -> dict[str, InputError]:
    from chiasm.images import open_image

    faults = {}
    for source in sources:
        try:
            open_image(source)
        except InputError as error:
            faults[source] = error
    return faults
