"""The three standard streams as commands need them: always there, and a fault of stdout is told from one of a file."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class StdoutError(OSError):
    """Results cannot be written to stdout."""


class _Raw(io.RawIOBase):
    """What a stream writes to, with a word on its faults."""

    def __init__(self, stream: io.TextIOWrapper, failed: Callable[[OSError, int], int]) -> None:
        self._stream = stream  # which closes its file when nobody holds it any longer
        self._raw: Any = getattr(stream.buffer, "raw", stream.buffer)
        self._failed = failed

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def isatty(self) -> bool:
        return bool(self._raw.isatty())

    def write(self, data: ReadableBuffer, /) -> int | None:
        try:
            written: int | None = self._raw.write(data)
            return written
        except OSError as fault:
            return self._failed(fault, memoryview(data).nbytes)


def ready_streams() -> None:
    """A stream that was closed is the null device from now on, so that no file takes its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # as long as the process
    sys.stdout, sys.stderr = _over(sys.stdout, _tell), _over(sys.stderr, _drop)


def hush_stdout() -> None:
    """Nothing more is written, not even what is still kept when the interpreter closes stdout."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _over(stream: TextIO, failed: Callable[[OSError, int], int]) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    file = io.BufferedWriter(_Raw(stream, failed))
    return io.TextIOWrapper(file, stream.encoding, stream.errors, line_buffering=stream.line_buffering)


def _tell(fault: OSError, size: int) -> int:
    if isinstance(fault, BrokenPipeError):
        raise fault
    raise StdoutError(fault.errno, os.strerror(fault.errno or 0)) from None


def _drop(fault: OSError, size: int) -> int:
    """There is nowhere to say that stderr cannot be written."""
    return size
