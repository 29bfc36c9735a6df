"""Folders that are whole or not there: filled under a temporary name, made durable, then renamed."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from chiasm_registry.errors import TrainingError

from ..files import guarded_write, sync_folder

TEMPORARY, OLD = ".partial", ".old"


def replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Put what `fill(empty folder)` writes in the place of `folder`; until that is on the disk the old one stands."""
    partial, old = folder.with_name(f".{folder.name}{TEMPORARY}"), folder.with_name(f".{folder.name}{OLD}")
    shutil.rmtree(partial, ignore_errors=True)
    with guarded_write(folder, TrainingError):
        partial.mkdir(parents=True)
        fill(partial)
        _make_durable(partial)
        if folder.exists():
            os.rename(folder, old)
        os.rename(partial, folder)
        sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def restore_folder(folder: Path) -> None:
    """Undo what a process that was killed inside `replace_folder` left behind."""
    partial, old = folder.with_name(f".{folder.name}{TEMPORARY}"), folder.with_name(f".{folder.name}{OLD}")
    if old.exists() and not folder.exists():
        os.rename(old, folder)
    for left in (partial, old):
        shutil.rmtree(left, ignore_errors=True)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _make_durable(folder: Path) -> None:
    """Have the disk hold the files of `folder` and their names."""
    for path in [p for p in folder.rglob("*") if p.is_file()]:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
