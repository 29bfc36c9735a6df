"""The command line. `main` is the console script; it loads no torch and no plugin until a command needs them."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line on `sys.argv` and leave with its exit code: 0, 1, 2 or 130."""
    try:
        from .streams import ready_streams

        ready_streams()
        from .app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # before the commands are there, or twice in a row
        code = 130
    sys.exit(code)
