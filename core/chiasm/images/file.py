"""Reads an image file through one descriptor: a regular file within the size limit; no device, pipe or address."""

from __future__ import annotations

import errno
import os
import re
import stat

from chiasm_registry.errors import InputError

from chiasm.limits import Limits

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:/|data:|file:|//|\\\\")
_REASONS = {
    errno.ENOENT: "does not exist",
    errno.ENOTDIR: "does not exist",
    errno.EACCES: "may not be read; check its permissions",
    errno.EPERM: "may not be read; check its permissions",
    errno.ELOOP: "is a link that leads to itself",
    errno.ENAMETOOLONG: "is too long for a file name",
    errno.ENXIO: "is not a regular file",
}


def read_image_file(path: str, name: str, limits: Limits) -> bytes:
    """All bytes of the file; checked and read through the same descriptor, so it cannot be exchanged in between."""
    _check_path(path, name)
    # Without O_NONBLOCK, opening a pipe that nobody writes to blocks for ever.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
        try:
            return _read(descriptor, name, limits.image_bytes)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise InputError(f"{name} {_REASONS.get(error.errno or 0, 'cannot be read')}") from error
    except ValueError as error:  # NUL, or a character that no file name here can hold
        raise InputError(f"{name} is not a valid file name") from error


def _check_path(path: str, name: str) -> None:
    if not path:
        raise InputError("the image path is empty")
    if path.startswith("~"):
        raise InputError(f"{name} starts with '~', which is not expanded; write the whole path")
    if _ADDRESS.match(path):
        raise InputError(f"{name} is an address; only paths of local files are opened")


def _read(descriptor: int, name: str, limit: int) -> bytes:
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{name} is a folder; name an image file")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{name} is not a regular file")
    if status.st_size > limit:
        raise InputError(f"{name} is larger than {limit // 2**20} MiB, the limit for an image file")
    chunks, size = [], 0
    # Until the end, not until the size of the status: the file may have grown or shrunk since.
    while size <= limit and (chunk := os.read(descriptor, min(max(status.st_size, 4096) + 1, limit + 1 - size))):
        chunks.append(chunk)
        size += len(chunk)
    if size > limit:
        raise InputError(f"{name} grew beyond {limit // 2**20} MiB while it was read; somebody is writing to it")
    return b"".join(chunks)
