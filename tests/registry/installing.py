"""Distributions laid down as an installer does it, from a wheel that is made here: no pip, no network."""

from __future__ import annotations

import base64
import hashlib
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def wheel(
    folder: Path,
    distribution: str,
    files: Mapping[str, str | bytes],
    entry_points: str = "",
    *,
    version: str = "1.0",
    metadata: str = "",
) -> Path:
    """A wheel in `folder`: `files` by their path in it, the text of `entry_points.txt`, more lines of METADATA."""
    info = f"{distribution.replace('-', '_')}-{version}.dist-info"
    held = {path: text.encode() if isinstance(text, str) else text for path, text in files.items()}
    held[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n{metadata}".encode()
    held[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: chiasm's tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if entry_points:
        held[f"{info}/entry_points.txt"] = entry_points.encode()
    rows = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in held.items()]
    held[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,"]).encode()
    path = folder / f"{distribution.replace('-', '_')}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in held.items():
            archive.writestr(name, data)
    return path


def install(path: Path, site: Path) -> None:
    """Unpack a wheel into a site folder, which is what installing a pure one means."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(site)


@contextmanager
def site_of(folder: Path, prefix: str) -> Iterator[Path]:
    """`folder` in front of the import path; modules that begin with `prefix` are forgotten afterwards."""
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield folder
    finally:
        sys.path[:] = before
        sys.path_importer_cache.clear()
        for name in [name for name in sys.modules if name.startswith(prefix)]:
            del sys.modules[name]


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
