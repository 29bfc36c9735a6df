"""Replaces a whole set of files at once: whoever is killed at any moment leaves the old set or the new one.

New files are written under hidden names and synced; then a hidden manifest is renamed into place: that is the commit.
Only then do the files take the places of the old ones, the manifest last. A reader that meets a committed set that
was not finished reads each file under whichever name it has; the next writer finishes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from chiasm_registry.errors import CheckpointError, shown, shown_path

from ..files import store, sync_folder
from .files import read_file
from .manifest import BESIDE, MANIFEST, FileEntry, Manifest, parse_manifest

Chunks = Callable[[], Iterable[bytes | memoryview]]
_MANIFEST_LIMIT = 10 * 2**20


def pending(name: str) -> str:
    """The hidden name of a new file until it takes its place."""
    return f".{name}.new"


def is_temporary(name: str) -> bool:
    """Ours, and without meaning unless a committed manifest stands beside it."""
    return name.startswith(".") and name.endswith((".new", ".part"))


def load_manifest(path: Path) -> Manifest:
    """The manifest in a file."""
    name = f"'{shown_path(path)}'"
    return parse_manifest(bytes(read_file(path, name, _MANIFEST_LIMIT)), name)


def write_set(folder: Path, files: Mapping[str, Chunks], manifest: Callable[[dict[str, FileEntry]], Manifest]) -> None:
    """Makes `folder` hold exactly these files and their manifest; raises `CheckpointError` with the old set intact."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            _finish(folder)
            _refuse_strangers(folder)
            try:
                entries = {name: _stage(folder / pending(name), chunks) for name, chunks in files.items()}
                part = folder / f".{MANIFEST}.part"
                store(part, [manifest(entries).json_bytes()])
                sync_folder(folder)
                os.replace(part, folder / pending(MANIFEST))
                sync_folder(folder)
            except BaseException:
                # Behind the commit nothing may be swept: the new set is the valid one.
                if not (folder / pending(MANIFEST)).exists():
                    _sweep(folder)
                raise
            _finish(folder)
    except (OSError, ValueError) as error:
        where = shown_path(folder)
        raise CheckpointError(f"cannot write '{where}'; it must be a writable folder on a disk with room") from error


def _stage(path: Path, chunks: Chunks) -> FileEntry:
    size, sha256 = store(path, chunks())
    return FileEntry(size=size, sha256=sha256)


def _finish(folder: Path) -> None:
    """Brings a committed set to its places, and sweeps what never was committed."""
    committed = folder / pending(MANIFEST)
    if committed.exists():
        new = load_manifest(committed)
        for name in new.files:
            if (folder / pending(name)).exists():
                os.replace(folder / pending(name), folder / name)
        for name in _listed(folder) - set(new.files):
            (folder / name).unlink(missing_ok=True)
        sync_folder(folder)
        os.replace(committed, folder / MANIFEST)
        sync_folder(folder)
    _sweep(folder)


def _listed(folder: Path) -> set[str]:
    """Files of the set that stands under the final names."""
    try:
        return set(load_manifest(folder / MANIFEST).files)
    except CheckpointError:
        return set()


def _sweep(folder: Path) -> None:
    for path in folder.iterdir():
        if is_temporary(path.name):
            path.unlink(missing_ok=True)


def _refuse_strangers(folder: Path) -> None:
    """What we did not write would make the folder unreadable, and is not ours to delete."""
    known = _listed(folder) | BESIDE | {MANIFEST}
    for path in folder.iterdir():
        if path.name not in known:
            name = shown(path.name, 60)
            raise CheckpointError(
                f"'{shown_path(folder, 80)}' holds '{name}', no part of a checkpoint; write to another folder"
            )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time; the system frees the lock when its process dies."""
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            where = shown_path(folder)
            raise CheckpointError(f"'{where}' is being written by another process; try again later") from None
        yield
    finally:
        os.close(descriptor)
