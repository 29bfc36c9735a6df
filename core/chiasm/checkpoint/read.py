"""Reads a model folder: the manifest first, then only files it lists, each checked on the very bytes that are used."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chiasm_registry.errors import CheckpointError, shown, shown_path

from ..limits import LIMITS
from ..strict_json import parse_object
from .config import check_config
from .files import folder_names, read_file
from .folder import is_temporary, load_manifest, pending
from .later import Later
from .manifest import BESIDE, CONFIG, KEPT, MANIFEST, TOKENIZER, Manifest, TaskEntry, task_file_name
from .taskfile import TaskFile, parse_task_file
from .tensors import read_tensors

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A whole model folder; of chiasm's own everything is in memory, and nothing depends on the files any more."""

    manifest: Manifest
    config: dict[str, Any]
    tokenizer_json: str
    core: Mapping[str, Tensor | Later]  # of a foreign folder still on the disk
    tasks: dict[str, TaskFile]  # by name, in the order of the task table
    faults: dict[str, str] = field(default_factory=dict)  # tasks whose weights do not fit their entry, and why
    kept: Mapping[str, bytes] = field(default_factory=dict)  # files of an official folder that it came from, by name


def read_checkpoint(folder: str | os.PathLike[str]) -> Checkpoint:
    """The checkpoint in `folder`; raises `CheckpointError` with nothing half loaded.

    A task whose intact file does not fit its own entry is left out and named in `faults`; the rest still stands.
    """
    root = Path(folder)
    names = _names(root)
    committed = pending(MANIFEST) in names
    manifest = load_manifest(root / (pending(MANIFEST) if committed else MANIFEST))
    _refuse_unlisted(root, names, set(manifest.files) | _replaced(root, committed))
    read = _Reader(root, manifest, committed)
    config = parse_object(read(CONFIG), CONFIG, error=CheckpointError)
    check_config(config, CONFIG)
    if config.get("design", manifest.design) != manifest.design:
        told = f"{shown(config['design'], 40)!r}, {MANIFEST} {shown(manifest.design, 40)!r}"
        raise CheckpointError(f"{CONFIG} names the design {told}; take both files from one model")
    tokenizer_json = _text(read(TOKENIZER))
    core = _core(read, manifest)
    tasks: dict[str, TaskFile] = {}
    faults: dict[str, str] = {}
    for entry in sorted(manifest.tasks, key=lambda task: task.order):
        if task_file_name(entry.name) in manifest.files:
            data = read(task_file_name(entry.name))
            try:
                tasks[entry.name] = _task(data, entry)
            except CheckpointError as error:
                faults[entry.name] = str(error)
    kept = {name.partition("-")[2]: bytes(read(name)) for name in manifest.files if KEPT.fullmatch(name)}
    return Checkpoint(manifest, config, tokenizer_json, core, tasks, faults, kept)


@dataclass(frozen=True)
class _Reader:
    """Gives a listed file's bytes, which are those the manifest vouches for."""

    root: Path
    manifest: Manifest
    committed: bool  # only then hidden new files mean anything

    def __call__(self, name: str) -> bytearray:
        entry = self.manifest.files[name]
        path = self.root / name
        if self.committed and (self.root / pending(name)).exists():
            path = self.root / pending(name)
        limit = LIMITS.tokenizer_bytes if name.endswith(".json") else None
        where = f"'{shown_path(path)}'"
        data = read_file(path, where, limit)
        if len(data) != entry.size:
            raise CheckpointError(f"{where} has {len(data)} bytes, {MANIFEST} says {entry.size}; copy it again")
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise CheckpointError(f"{where} is damaged or was changed: its sha256 is not the one in {MANIFEST}")
        return data


def _names(root: Path) -> set[str]:
    """What the folder holds; says what it is when it is no checkpoint."""
    names, where = folder_names(root), f"'{shown_path(root)}'"
    if MANIFEST in names or pending(MANIFEST) in names:
        return names
    pickles = sorted(name for name in names if name.endswith((".bin", ".pth", ".pt", ".pkl", ".ckpt")))
    if pickles:
        raise CheckpointError(
            f"{where} holds '{shown(pickles[0], 60)}', a pickle, never opened here; see `chiasm convert`"
        )
    if any(name.endswith(".safetensors") for name in names):
        raise CheckpointError(f"{where} is a foreign model folder without {MANIFEST}; see `chiasm convert`")
    raise CheckpointError(f"{where} holds no {MANIFEST}; it is not a model folder, or was never written to the end")


def _replaced(root: Path, committed: bool) -> set[str]:
    """Files of the old set that a writer was about to remove when it was stopped."""
    if not committed:
        return set()
    try:
        return set(load_manifest(root / MANIFEST).files)
    except CheckpointError:
        return set()


def _refuse_unlisted(root: Path, names: set[str], listed: set[str]) -> None:
    for name in sorted(names - listed - BESIDE - {MANIFEST}):
        if not is_temporary(name):
            raise CheckpointError(
                f"'{shown_path(root)}' holds '{shown(name, 60)}', which {MANIFEST} does not list; remove it"
            )


def _text(data: bytearray) -> str:
    try:
        return data.decode("utf-8")
    except ValueError as error:
        raise CheckpointError(f"{TOKENIZER} is not UTF-8 text; the file is damaged") from error


def _core(read: _Reader, manifest: Manifest) -> dict[str, Tensor]:
    core: dict[str, Tensor] = {}
    for name in manifest.core_files:
        tensors, _ = read_tensors(read(name), name)
        twice = next((key for key in tensors if key in core), None)
        if twice is not None:
            raise CheckpointError(f"{name} holds '{shown(twice)}', which an earlier shard holds too")
        core |= tensors
    return core


def _task(data: bytearray, entry: TaskEntry) -> TaskFile:
    name = task_file_name(entry.name)
    task = parse_task_file(data, name)
    task.check(embeddings=entry.embeddings)
    if task.entry != entry:
        raise CheckpointError(f"{name} is of another task or version than {MANIFEST} says")
    return task
