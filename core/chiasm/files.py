"""Files are written whole or not at all: a temporary name in the same folder, then a rename."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from chiasm_registry.errors import InputError, shown


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` under `path`, replacing what stood there; when it fails the old file stays, and no other."""
    target = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(prefix=".chiasm-", suffix=".part", dir=target.parent)
    except (OSError, ValueError):
        raise _refused(target) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except OSError:
        os.unlink(temporary)
        raise _refused(target) from None
    except BaseException:
        os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _refused(target: Path) -> InputError:
    return InputError(f"cannot write {shown(target)}; its folder must exist, be writable and have room")
