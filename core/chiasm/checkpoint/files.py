"""Folders are listed, single files read whole through one descriptor; what is no weight file is called what it is."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from chiasm_registry.errors import CheckpointError, InputError, shown, shown_path

_REASONS = {
    errno.ENOENT: "does not exist",
    errno.ENOTDIR: "does not exist",
    errno.EACCES: "may not be read; check its permissions",
    errno.ELOOP: "is a link; put the file itself there, or load a foreign folder with follow_links=True",
}
_LOOKS_LIKE = (
    (b"PK\x03\x04", "is a zip archive, as torch.save writes: a pickle, never opened here; see `chiasm convert`"),
    (b"\x80", "is a pickle, never opened here; see `chiasm convert`"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the file; run `git lfs pull`"),
    (b"<", "is a web page, not the file; download it again"),
)


def folder_path(path: object) -> Path:
    """A folder that a caller named, be it there or not; raises `InputError` for what is no path."""
    try:
        return Path(path)  # type: ignore[arg-type]
    except TypeError:
        kind = shown(type(path).__name__, 40)
        raise InputError(f"a model's folder must be a path, not of type {kind}") from None


def folder_names(root: Path) -> set[str]:
    """What stands in the folder; a CheckpointError where there is none, or none that may be read."""
    where = f"'{shown_path(root)}'"
    try:
        return {path.name for path in root.iterdir()}
    except FileNotFoundError:
        raise CheckpointError(f"no model folder {where}") from None
    except NotADirectoryError:
        raise CheckpointError(f"{where} is a file; name the folder of a model") from None
    except (OSError, ValueError):
        raise CheckpointError(f"{where} cannot be read; check its permissions") from None


def read_file(
    path: str | os.PathLike[str], name: str, limit: int | None = None, *, follow_links: bool = False
) -> bytearray:
    """All bytes of a regular file; a link is only followed when asked, because it may lead out of the folder."""
    descriptor = open_regular(path, name, follow_links=follow_links)
    try:
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if limit is not None and status.st_size > limit:
                raise CheckpointError(f"{name} is larger than {limit / 2**20:g} MiB")
            data = bytearray(status.st_size)
            filled, view = 0, memoryview(data)
            while filled < len(data) and (count := file.readinto(view[filled:])):
                filled += count
    except OSError as error:
        raise CheckpointError(f"{name} {_REASONS.get(error.errno or 0, 'cannot be read')}") from error
    if filled != len(data):
        raise CheckpointError(f"{name} shrank while it was read; somebody is writing to it")
    refuse_lookalikes(data, name)
    return data


def open_regular(path: str | os.PathLike[str], name: str, *, follow_links: bool = False) -> int:
    """The descriptor of a regular file, open for reading."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    flags |= 0 if follow_links else getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise CheckpointError(f"{name} {_REASONS.get(error.errno or 0, 'cannot be read')}") from error
    except ValueError as error:
        raise CheckpointError(f"{name} is not a valid file name") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CheckpointError(f"{name} is not a regular file")
    return descriptor


def refuse_lookalikes(data: bytearray, name: str) -> None:
    """Says what the file is instead of what it should be."""
    if not data:
        raise CheckpointError(f"{name} is an empty file")
    for magic, fact in _LOOKS_LIKE:
        # A safetensors file may begin with any byte: its length of header. Zeros behind it tell the two apart.
        if data[:64].lstrip().startswith(magic) and data[3:8] != b"\0\0\0\0\0":
            raise CheckpointError(f"{name} {fact}")
