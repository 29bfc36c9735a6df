"""Checkpoints of a run by step: which one counts, and whether a run may go on from it.

A checkpoint is the folder `checkpoints/step-N`, written under another name, with the size and sha256 of every file in
`complete.json`; one without it, or that differs from it, is removed and the one before it counts.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from chiasm_registry.errors import TrainingError, shown

from ..files import write_json
from .folders import TEMPORARY, replace_folder, sha256

MARKER, STATE = "complete.json", "state.json"


def write_checkpoint(root: Path, step: int, fill: Callable[[Path], None], *, keep: int) -> None:
    """Write `root/step-N` by `fill(folder)` and leave the newest `keep` ones."""

    def fill_and_seal(folder: Path) -> None:
        fill(folder)
        files = {p.name: {"size": p.stat().st_size, "sha256": sha256(p)} for p in sorted(folder.iterdir())}
        write_json(folder / MARKER, {"files": files}, error=TrainingError)

    replace_folder(root / f"step-{step:08d}", fill_and_seal)
    for old in _by_step(root)[keep:]:
        shutil.rmtree(old, ignore_errors=True)


def newest_checkpoint(root: Path) -> Path | None:
    """The newest complete checkpoint, after removing those that are not."""
    if not root.is_dir():
        return None
    for left in root.glob(f".*{TEMPORARY}"):
        shutil.rmtree(left, ignore_errors=True)
    for folder in _by_step(root):
        if _complete(folder):
            return folder
        shutil.rmtree(folder, ignore_errors=True)
    return None


def read_state(folder: Path) -> dict[str, Any]:
    """The plain values of a complete checkpoint."""
    state: dict[str, Any] = json.loads((folder / STATE).read_text("utf-8"))
    return state


def refuse_another_run(before: Mapping[str, Any], now: Mapping[str, Any], place: str) -> None:
    """TrainingError with the first difference between two runs' identities, if there is one."""
    for key, was, is_now in _differences("", before, now):
        raise TrainingError(
            f"{shown(place, 50)} holds a run with {shown(key, 40)} = {shown(was, 25)}, now {shown(is_now, 25)}; "
            "change it back, take another --out, or --no-resume"
        )


def set_aside(out: Path, names: tuple[str, ...]) -> Path | None:
    """Move what an earlier run left in `out` into the first free folder `out/before-N`; None if there was nothing."""
    there = [out / name for name in names if (out / name).exists()]
    if not there:
        return None
    number = 1
    while (out / f"before-{number}").exists():
        number += 1
    aside = out / f"before-{number}"
    aside.mkdir()
    for path in there:
        path.rename(aside / path.name)
    return aside


def _by_step(root: Path) -> list[Path]:
    return sorted((p for p in root.glob("step-*") if p.is_dir()), reverse=True)


def _complete(folder: Path) -> bool:
    try:
        files = json.loads((folder / MARKER).read_text("utf-8"))["files"]
        return STATE in files and all(
            (folder / name).stat().st_size == fact["size"] and sha256(folder / name) == fact["sha256"]
            for name, fact in files.items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _differences(road: str, before: Any, now: Any) -> list[tuple[str, Any, Any]]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        found: list[tuple[str, Any, Any]] = []
        for key in sorted({*before, *now}):
            found += _differences(f"{road}.{key}" if road else str(key), before.get(key), now.get(key))
        return found
    return [] if before == now else [(road, before, now)]
