"""The commands by name, and the road from arguments to an exit code.

A command is one file, `cli/NAME.py`. At its top it imports nothing but the standard library, typer and
`chiasm_registry.errors`; everything heavier (torch, numpy, a plugin, `chiasm.model`, rich's progress) is imported
inside the function, so that `chiasm --help` stays quick. The file holds either
    def command(...) -> None     a typer function; its docstring's first line is the help, or
    app = typer.Typer(...)       a group of commands, as `plugins` is,
and stands in `COMMANDS` below; it is imported when it is asked for, or when all are listed. A command lets ChiasmError
pass and never calls `sys.exit`: it raises, and `errors.guarded` turns what was raised into one line and an exit code;
`raise typer.Exit(2)` is for a command that has printed its own messages (some images of many were bad). Results go to
stdout, progress and messages to stderr.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from .errors import guarded
from .plugin_flags import Block, Files, Only, Strict, Trace, in_front, set_for_this_run

COMMANDS = {
    "predict": "chiasm.cli.predict",
    "chat": "chiasm.cli.chat",
    "draw": "chiasm.cli.draw",
    "eval": "chiasm.cli.evaluate",
    "score": "chiasm.cli.score",
    "train": "chiasm.cli.train",
    "plugins": "chiasm.cli.plugins",
    "convert": "chiasm.cli.convert",
    "export": "chiasm.cli.export",
}


class _Commands(Mapping[str, Any]):
    """The commands by name, each imported and built when somebody looks at it: what is not asked for costs nothing."""

    def __getitem__(self, name: str) -> Any:
        module, mounted = import_module(COMMANDS[name]), typer.Typer(rich_markup_mode=None)
        if hasattr(module, "command"):
            mounted.command(name)(module.command)
        else:
            mounted.add_typer(module.app, name=name)
        return typer.main.get_group(mounted).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def build() -> TyperGroup:
    """The command with every other one mounted."""
    app = typer.Typer(
        name="chiasm",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        callback=_chiasm,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    group = typer.main.get_group(app)
    group.commands = cast(Any, _Commands())  # only read, which is all that a mapping can
    return group


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code is 0 done, 1 our fault, 2 bad input, 130 interrupted."""
    return guarded(lambda: _invoke(arguments))


def _invoke(arguments: Sequence[str]) -> None:
    # Not typer's own main(): it prints boxes of several lines, and leaves with 1 when the reader of stdout is gone.
    command = build()
    with command.make_context("chiasm", in_front(arguments)) as context:
        command.invoke(context)


def _version(wanted: bool) -> None:
    if wanted:
        import chiasm

        typer.echo(f"chiasm {chiasm.__version__}")
        raise typer.Exit


def _chiasm(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    only: Only = None,
    block: Block = None,
    files: Files = None,
    strict: Strict = False,
    trace: Trace = False,
) -> None:
    """One model says what it sees; plugins show it."""
    if any((only is not None, block, files, strict, trace)):
        set_for_this_run(context, only, block, files, strict, trace)
