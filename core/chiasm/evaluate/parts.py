"""Answers by image, kept in a folder while they come, so that an interrupted evaluation goes on where it was.

One JSON-lines file a process: a header that pins what was evaluated, then a line an image. A torn last line is
dropped; a folder with other pins is refused with the difference.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from chiasm_registry.errors import InputError, shown_path

Answer = dict[str, Any]
FORMAT = "chiasm-eval-1"


class Parts:
    """The answers so far, in memory and, with a folder, on disk."""

    def __init__(
        self,
        folder: Path | None,
        pins: Mapping[str, str],
        rank: int = 0,
        used: Callable[[int, Answer], object] = lambda image_id, answer: None,
    ) -> None:
        """`used` does with an answer what scoring will do; where it fails on one that was kept, the file is damaged."""
        self.done: dict[int, Answer] = {}
        self._used = used
        self._folder, self._pins, self._file = folder, dict(pins), None
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            paths = sorted(folder.glob("part-*.jsonl"))
            for path in paths:
                self.done.update(self._read(path))
            self._file = self._append_to(folder / f"part-{rank}.jsonl")
        except OSError:
            raise InputError(f"{shown_path(folder, 100)}: cannot be written; --out must be a folder of yours") from None

    def add(self, answers: Mapping[int, Answer]) -> None:
        """Keep these; when this returns they survive a kill, but for photographs that were left out this time."""
        self.done.update(answers)
        if self._file is not None:
            kept = ((image_id, answer) for image_id, answer in answers.items() if "skipped" not in answer)
            lines = (json.dumps({"image_id": image_id, **answer}) for image_id, answer in kept)
            self._file.write("".join(f"{line}\n" for line in lines).encode())
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _append_to(self, path: Path) -> IO[bytes]:
        """The part of this process, without a torn last line, locked against a second run."""
        file = path.open("ab")
        _lock(file, path)
        whole = path.read_bytes().rfind(b"\n") + 1
        file.truncate(whole)
        if whole == 0:
            file.write(json.dumps({"format": FORMAT, **self._pins}).encode() + b"\n")
            file.flush()
        return file

    def _read(self, path: Path) -> dict[int, Answer]:
        lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line end is torn
        if not lines:
            return {}
        try:
            header, *rows = [json.loads(line) for line in lines]
            self._compare(header, path)
            found = {row.pop("image_id"): row for row in rows}
            for image_id, answer in found.items():
                self._used(image_id, answer)
            return found
        except (ValueError, LookupError, AttributeError, TypeError):
            fact = "damaged; remove it and its images are evaluated again"
            raise InputError(f"{shown_path(path, 100)}: {fact}") from None

    def _compare(self, header: Mapping[str, Any], path: Path) -> None:
        wanted = {"format": FORMAT, **self._pins}
        for key in sorted({*wanted, *header}):
            if header.get(key) != wanted.get(key):
                then, now = shown_path(header.get(key), 40), shown_path(wanted.get(key), 40)  # hashes stand last
                raise InputError(
                    f"{shown_path(path.parent, 60)} holds an evaluation with {key} '{then}', this one has '{now}'; "
                    "use another --out, or empty it"
                )


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not on this system: two runs in one folder are then the user's care
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        fact = "another evaluation is writing there; use another --out"
        raise InputError(f"{shown_path(path.parent, 100)}: {fact}") from None
