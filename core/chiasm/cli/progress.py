"""Bars on stderr: for what takes longer than two seconds, for bytes, and for what surely takes long.

But for the last, whose end a log may tell, they are nothing at all when stderr is not a terminal.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

PATIENCE_S = 2.0


class Progress:
    """`with Progress(total, doing) as progress:`; each `with progress.step():` is one done, and may print inside."""

    def __init__(self, total: int, doing: str, *, terminal: bool | None = None) -> None:
        self._shown = sys.stderr.isatty() if terminal is None else terminal
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._bar = RichProgress(*columns, console=Console(file=sys.stderr, force_terminal=self._shown), transient=True)
        self._task = self._bar.add_task(doing, total=total)
        self._lock = threading.RLock()
        self._begun = self._ended = False
        self._timer = threading.Timer(PATIENCE_S, self._begin)
        self._timer.daemon = True

    def __enter__(self) -> Progress:
        if self._shown:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            self._ended = True
            if self._begun:
                self._bar.stop()

    def say(self, doing: str) -> None:
        """Name what is being done now."""
        self._bar.update(self._task, description=doing)

    @contextmanager
    def step(self) -> Iterator[None]:
        """The bar is taken away inside, so that lines can be printed, and one further outside."""
        with self._lock:
            if self._begun:
                self._bar.stop()
            yield
            self._bar.advance(self._task)
            if self._begun:
                self._bar.start()

    def _begin(self) -> None:
        with self._lock:
            if not self._ended:
                self._begun = True
                self._bar.start()


class Bytes:
    """`with Bytes(doing) as told:`; `told(done, whole)` moves a bar of megabytes."""

    def __init__(self, doing: str) -> None:
        self._progress = Progress(1, doing)
        self._bar, self._task = self._progress._bar, self._progress._task

    def __enter__(self) -> Bytes:
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)

    def __call__(self, done: int, whole: int) -> None:
        self._bar.update(self._task, completed=done // 2**20, total=max(whole // 2**20, 1))


@contextmanager
def counted(total: int, what: str, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """A bar of so many things, with the time that is left; what it gives is told how many more are done."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with RichProgress(*columns, console=Console(stderr=True), disable=not shown or total == 0) as progress:
        bar = progress.add_task(what, total=total)
        yield lambda done: progress.update(bar, advance=done)
