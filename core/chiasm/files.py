"""Files are written whole or not at all: a temporary name in the same folder, made durable, then a rename."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from chiasm_registry.errors import ChiasmError, InputError, shown_path


def write_whole(
    path: str | os.PathLike[str],
    content: bytes | Iterable[bytes | memoryview],
    *,
    error: type[ChiasmError] = InputError,
) -> None:
    """Write `content` under `path`, replacing what stood there; when it fails the old file stays, and no other."""
    target = Path(path)
    temporary = target.parent / f".chiasm-{secrets.token_hex(6)}.part"
    try:
        with guarded_write(target, error):
            store(temporary, [content] if isinstance(content, bytes) else content)
            os.replace(temporary, target)
            sync_folder(target.parent)
    except ValueError:
        raise error(f"cannot write '{shown_path(target, 80)}'; that is no name of a file") from None
    finally:
        with suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], value: Any, *, error: type[ChiasmError] = InputError) -> None:
    """`value` as JSON for people and programs, whole or not at all."""
    # half a character in a file's name becomes an escape, which is what JSON writes for it
    text = json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace")
    write_whole(path, text + b"\n", error=error)


@contextmanager
def guarded_write(path: str | os.PathLike[str], error: type[ChiasmError] = InputError) -> Iterator[None]:
    """Inside, a disk that is full or not writable becomes one line of `error` about `path`."""
    try:
        yield
    except OSError as fault:
        fact = os.strerror(fault.errno) if fault.errno else type(fault).__name__
        raise error(
            f"cannot write '{shown_path(path, 80)}': {fact}; its folder must exist, be writable and have room"
        ) from fault


def store(path: Path, chunks: Iterable[bytes | memoryview]) -> tuple[int, str]:
    """Write a new file and wait until the disk has it; size and sha256 of what was written."""
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0), 0o666)
    with os.fdopen(descriptor, "wb") as file:
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        file.flush()
        os.fsync(file.fileno())
    return size, digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """A rename is on disk only when its folder is."""
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
