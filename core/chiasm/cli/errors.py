"""The one place where an exception becomes a line on stderr and an exit code; nothing here imports more than typer."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

import typer
from chiasm_registry.errors import ChiasmError, shown

from .streams import StdoutError, hush_stdout

DONE, OUR_FAULT, BAD_INPUT, INTERRUPTED, READER_GONE = 0, 1, 2, 130, 141


def complain(message: str) -> None:
    """One line on stderr, control characters escaped."""
    sys.stderr.write(f"chiasm: {shown(message, 400)}\n")
    sys.stderr.flush()


def guarded(command: Callable[[], None]) -> int:
    """Run `command`; whatever it raises ends as at most one line on stderr and the exit code that is returned."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a label or a file name must not break a narrow terminal
    try:
        command()
        sys.stdout.flush()
    except typer.Exit as stop:
        return guarded(sys.stdout.flush) or int(stop.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:  # `chiasm ... | head`: nobody reads on, and nothing is said
        hush_stdout()
        return READER_GONE
    except StdoutError as fault:
        hush_stdout()
        complain(f"cannot write to stdout: {fault.strerror}; make room, or send the results elsewhere")
        return BAD_INPUT
    except ChiasmError as error:
        if os.environ.get("CHIASM_TRACEBACK") == "1" and error.__cause__ is not None:
            traceback.print_exc()  # for the author of a task, whose own function failed
        complain(str(error))
        return BAD_INPUT
    except Exception as error:
        return _other(error)
    return DONE


def _other(error: Exception) -> int:
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):  # click's family, whichever copy typer carries
        return _usage(error)
    if os.environ.get("CHIASM_TRACEBACK") == "1":
        traceback.print_exc()
    complain(f"internal error ({type(error).__name__}); run with CHIASM_TRACEBACK=1 to see where, and report it")
    return OUR_FAULT


def _usage(error: Exception) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
        typer.echo(context.get_help())
        return BAD_INPUT
    path = context.command_path if context is not None else "chiasm"
    message = str(error.format_message()).rstrip(".")  # type: ignore[attr-defined]
    complain(f"{message[:1].lower()}{message[1:]}; see `{path} --help`")
    return BAD_INPUT
