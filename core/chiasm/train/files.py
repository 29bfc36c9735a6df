"""Files that are whole or not there: JSON and folders written under a temporary name, made durable, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chiasm_registry.errors import TrainingError, shown

TEMPORARY, OLD = ".partial", ".old"


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by `value` as JSON, in one step for a reader."""
    partial = path.with_name(f".{path.name}{TEMPORARY}")
    with guarded_write(path), partial.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Put what `fill(empty folder)` writes in the place of `folder`; until that is on the disk the old one stands."""
    partial, old = folder.with_name(f".{folder.name}{TEMPORARY}"), folder.with_name(f".{folder.name}{OLD}")
    shutil.rmtree(partial, ignore_errors=True)
    with guarded_write(folder):
        partial.mkdir(parents=True)
        fill(partial)
        make_durable(partial)
        if folder.exists():
            os.rename(folder, old)
        os.rename(partial, folder)
        make_durable(folder.parent, only_names=True)
    shutil.rmtree(old, ignore_errors=True)


def restore_folder(folder: Path) -> None:
    """Undo what a process that was killed inside `replace_folder` left behind."""
    partial, old = folder.with_name(f".{folder.name}{TEMPORARY}"), folder.with_name(f".{folder.name}{OLD}")
    if old.exists() and not folder.exists():
        os.rename(old, folder)
    for left in (partial, old):
        shutil.rmtree(left, ignore_errors=True)


def make_durable(folder: Path, *, only_names: bool = False) -> None:
    """Have the disk hold the files of `folder` and their names."""
    for path in [] if only_names else [p for p in folder.rglob("*") if p.is_file()]:
        _sync(path)
    _sync(folder)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class guarded_write:  # noqa: N801  # read as a statement
    """Inside, a disk that is full or not writable becomes a TrainingError of one line about `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            fact = os.strerror(error.errno) if error.errno else type(error).__name__
            message = f"cannot write {shown(self._path, 90)}: {fact}; what was saved before is whole"
            raise TrainingError(message) from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
