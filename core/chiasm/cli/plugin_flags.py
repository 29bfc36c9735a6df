"""The flags about plugins, which every command takes, wherever in the line: each is a setting for one run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

Only = Annotated[str | None, typer.Option("--plugins-only", metavar="A,B", help="Load no other plugins than these.")]
Block = Annotated[str | None, typer.Option("--plugins-block", metavar="A,B", help="Leave these plugins out.")]
Files = Annotated[list[Path] | None, typer.Option("--plugin", metavar="FILE.py", help="A plugin in one file, besides.")]
Strict = Annotated[bool, typer.Option("--plugins-strict", help="A plugin that is not ok is an error.")]
Trace = Annotated[bool, typer.Option("--plugins-trace", help="Tell on stderr what plugins do, with tracebacks.")]

VALUED = ("--plugins-only", "--plugins-block", "--plugin")
SWITCHES = ("--plugins-strict", "--plugins-trace")


def in_front(arguments: Sequence[str]) -> list[str]:
    """The same line with these flags moved before the command, where they are read; behind `--` nothing is moved."""
    moved: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            return [*moved, *rest, word, *words]
        if word in SWITCHES or word.startswith(tuple(f"{flag}=" for flag in VALUED)):
            moved.append(word)
        elif word in VALUED:
            moved += [word, *([value] if (value := next(words, None)) is not None else [])]
        else:
            rest.append(word)
    return [*moved, *rest]


def set_for_this_run(
    context: typer.Context,
    only: str | None,
    block: str | None,
    files: Sequence[Path] | None,
    strict: bool,
    trace: bool,
) -> None:
    """Put the flags over the environment's settings until the command is over."""
    from chiasm_registry.settings import Settings, applied

    given = Settings(
        only=None if only is None else _words(only),
        block=_words(block or ""),
        files=tuple(str(file) for file in files or ()),
        strict=strict,
        trace=trace,
    )
    context.with_resource(applied(given))


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())
