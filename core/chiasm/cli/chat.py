"""`chiasm chat`: a conversation in the terminal, or with a file of lines on stdin."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from chiasm_registry.errors import ChiasmError, InputError, shown

from .errors import BAD_INPUT, complain
from .options import Device, ModelName

if TYPE_CHECKING:
    from .conversing import Conversing

PROMPT = "> "


def command(
    images: Annotated[
        list[str] | None, typer.Argument(metavar="IMAGE...", help="Pictures that the first question is about.")
    ] = None,
    model: ModelName = "nano",
    device: Device = "cpu",
    threshold: Annotated[
        float | None, typer.Option(metavar="SCORE", min=0, max=1, help="Least score that is shown.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(metavar="T", help="Sample with this temperature; without it the likeliest is said.")
    ] = None,
    top_p: Annotated[float | None, typer.Option(metavar="P", help="Sample from this share of the likeliest.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Another seed is another answer.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(metavar="N", help="Most tokens of an answer.")] = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="A system message of your own.")] = None,
    alone: Annotated[
        bool, typer.Option("--alone", help="Each question by itself, about the pictures shown last: best for nano.")
    ] = False,
) -> None:
    """Talk about pictures; /help lists what else can be typed."""
    from .progress import Progress
    from .start import kept_for_good

    sampled = temperature is not None or top_p is not None
    options = {
        "threshold": threshold,
        "do_sample": sampled,
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
        "max_new_tokens": max_new_tokens,
    }
    with Progress(1, "loading the model"), kept_for_good():
        import chiasm

        from .conversing import Conversing

        talk = Conversing(chiasm.load(model, device=device), images or [], system, options, alone=alone)
    terminal = sys.stdin.isatty()
    if terminal:
        typer.echo("Ask about the picture; /help lists what else can be typed, Ctrl-C stops an answer, Ctrl-D leaves.")
    bad = _converse(talk, _asked_for if terminal else _next_line, terminal=terminal)
    if bad and not terminal:
        raise typer.Exit(BAD_INPUT)


def _converse(talk: Conversing, line: Callable[[], str | None], *, terminal: bool) -> int:
    """Line by line until there is none; how many of them could not be done."""
    bad = 0
    while True:
        try:
            text = line()
        except UnicodeDecodeError:
            raise InputError("stdin is not UTF-8 text; type or pipe plain text") from None
        if text is None:
            return bad
        try:
            if text.strip() and not talk.take(text.strip()):
                return bad
        except ChiasmError as error:
            bad += 1
            complain(shown(error, 400))
        except KeyboardInterrupt:
            if not terminal:
                raise
            typer.echo("")
            complain("stopped; the conversation goes on")


def _asked_for() -> str | None:
    """A line from the keyboard, with the arrow keys' history; Ctrl-C throws a begun line away."""
    import contextlib

    with contextlib.suppress(ImportError):  # not on every system
        import readline  # noqa: F401  # its import is what gives input() a history
    while True:
        try:
            return input(PROMPT)
        except KeyboardInterrupt:
            typer.echo("")
        except EOFError:
            typer.echo("")
            return None


def _next_line() -> str | None:
    return sys.stdin.readline() or None
