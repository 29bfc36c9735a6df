"""Writes a model folder: every file new, the manifest last, the folder's old content intact until the commit."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chiasm_registry.errors import CheckpointError
from pydantic import ValidationError

from ..strict_json import parse_object
from .config import check_config
from .folder import Chunks, write_set
from .later import Later
from .manifest import (
    CONFIG,
    MANIFEST,
    TOKENIZER,
    FileEntry,
    Manifest,
    TaskEntry,
    kept_name,
    parse_manifest,
    shard_names,
    task_file_name,
)
from .taskfile import TaskFile, task_chunks
from .tensors import tensor_chunks

if TYPE_CHECKING:
    from torch import Tensor

    from .read import Checkpoint


def write_checkpoint(
    folder: str | os.PathLike[str],
    *,
    design: str,
    config: dict[str, Any],
    tokenizer_json: str,
    template: str,
    guided_instruction: str,
    openings: Mapping[str, float] | None = None,
    echoes: Sequence[str] = (),
    core: Mapping[str, Tensor | Later],
    tasks: Sequence[TaskFile] = (),
    absent: Sequence[TaskEntry] = (),
    extra: dict[str, Any] | None = None,
    max_shard_bytes: int | None = None,
    kept: Mapping[str, bytes] | None = None,
) -> None:
    """Makes `folder` a checkpoint of exactly this; an older checkpoint in it is replaced at once or not at all.

    `absent` are tasks that keep their place in the table without weights here; `extra` is any JSON of the caller's;
    `kept` are files of the official folder that the model came from, by their names there.
    A core of more than `max_shard_bytes` is split. Raises `CheckpointError` for what reading would refuse.
    """
    check_config(config, CONFIG)
    list(_json(extra or {}, "extra"))  # pydantic would write NaN as null
    files: dict[str, Chunks] = {
        CONFIG: partial(_json, config, CONFIG),
        TOKENIZER: partial(_text, tokenizer_json),
        **_core_files(core, max_shard_bytes),
        **{task_file_name(task.name): partial(task_chunks, task) for task in tasks},
        **{kept_name(name): partial(_whole, data) for name, data in (kept or {}).items()},
    }
    table = tuple(sorted([*(task.entry for task in tasks), *absent], key=lambda entry: entry.order))

    said = {"design": design, "template": template, "guided_instruction": guided_instruction}
    parts = {**said, "openings": dict(openings or {}), "echoes": tuple(echoes), "tasks": table, "extra": extra or {}}
    manifest = partial(_manifest, parts)
    manifest({name: FileEntry(size=0, sha256="0" * 64) for name in files})  # refuse before anything is written
    write_set(Path(folder), files, manifest)


def write_again(folder: str | os.PathLike[str], read: Checkpoint, *, max_shard_bytes: int | None = None) -> None:
    """Makes `folder` what `read` holds, as it was read or with parts of it replaced.

    Tasks of its manifest that it holds no weights of keep their places. Raises as `write_checkpoint` does.
    """
    manifest = read.manifest
    write_checkpoint(
        folder,
        design=manifest.design,
        config=read.config,
        tokenizer_json=read.tokenizer_json,
        template=manifest.template,
        guided_instruction=manifest.guided_instruction,
        openings=manifest.openings,
        echoes=manifest.echoes,
        core=read.core,
        tasks=list(read.tasks.values()),
        absent=[entry for entry in manifest.tasks if entry.name not in read.tasks],
        extra=manifest.extra,
        max_shard_bytes=max_shard_bytes,
        kept=read.kept,
    )


def _manifest(parts: dict[str, Any], entries: dict[str, FileEntry]) -> Manifest:
    """Made, and checked as reading will check it."""
    try:
        return parse_manifest(Manifest(**parts, files=entries).json_bytes(), MANIFEST)
    except ValidationError as error:
        where = error.errors(include_url=False)[0]["loc"][0]
        raise CheckpointError(f"the manifest's '{where}' is not fit to be stored") from error


def _whole(data: bytes) -> Iterator[bytes]:
    yield data


def _text(text: str) -> Iterator[bytes]:
    yield text.encode("utf-8")


def _json(value: dict[str, Any], name: str) -> Iterator[bytes]:
    try:
        data = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{name} would not be plain JSON; give numbers, text, lists and objects only") from error
    parse_object(data, name, error=CheckpointError)
    yield data


def _core_files(core: Mapping[str, Tensor | Later], max_shard_bytes: int | None) -> dict[str, Chunks]:
    """Whole tensors in the order of their names, each shard filled as far as the limit lets."""
    shards: list[dict[str, Tensor | Later]] = [{}]
    filled = 0
    for key in sorted(core):
        size = core[key].numel() * core[key].element_size()
        if max_shard_bytes is not None and shards[-1] and filled + size > max_shard_bytes:
            shards.append({})
            filled = 0
        shards[-1][key] = core[key]
        filled += size
    names = shard_names(len(shards))
    return {name: partial(tensor_chunks, shard, {}, name) for name, shard in zip(names, shards, strict=True)}
