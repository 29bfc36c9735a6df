"""Whole models from one layout to the other: an official InternVL2 folder as chiasm's, and back, to the bit.

chiasm's folder keeps the official configuration and tokenizer files as they are beside its own, which is what makes the
way back exact. Tensors pass through memory one by one.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from chiasm_registry.errors import CheckpointError, shown, shown_path
from torch import Tensor

from .backbone.official.config import official_config
from .backbone.official.folder import CONFIG, official_tensors
from .backbone.official.names import places
from .checkpoint import Checkpoint, write_again
from .checkpoint.folder import Chunks
from .checkpoint.later import Later
from .checkpoint.manifest import MANIFEST
from .checkpoint.shards import INDEX, WHOLE
from .checkpoint.tensors import tensor_chunks
from .files import guarded_write, store, sync_folder
from .source import CORE_PREFIX, open_model
from .strict_json import parse_object

SHARD_BYTES = 4 * 2**30
Told = Callable[[int, int], None]


def convert_internvl2(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    follow_links: bool = False,
    told: Told | None = None,
) -> int:
    """Write the model in an official (or transformers' own) folder as a folder of chiasm; how many tensors it has."""
    if (Path(source) / MANIFEST).exists():
        raise CheckpointError(f"'{shown_path(source)}' is chiasm's own already; nothing is to be converted")
    read = open_model(source, follow_links=follow_links)
    write_again(target, replace(read, core=_counted(read.core, told)), max_shard_bytes=SHARD_BYTES)
    return len(read.core)


def export_official(
    source: str | os.PathLike[str], target: str | os.PathLike[str], *, told: Told | None = None
) -> tuple[int, tuple[str, ...]]:
    """Write a model of chiasm in the official layout; how many tensors, and the tasks that stay behind.

    `target` must not exist, or be empty. Refused is a model that came from no official folder.
    """
    read = open_model(source)
    if CONFIG not in read.kept:
        raise CheckpointError(f"'{shown_path(source)}' came from no official folder; only those have a way back")
    tensors = _official(read)
    shards = _sharded(_counted(tensors, told))
    files: dict[str, Chunks] = {
        name: partial(tensor_chunks, shard, {"format": "pt"}, name) for name, shard in shards.items()
    }
    homes = {key: name for name, shard in shards.items() for key in shard}
    if len(files) > 1:
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(homes.items()))}
        text = json.dumps(index, indent=2).encode()
        files[INDEX] = partial(iter, [text])
    files |= {name: partial(iter, [data]) for name, data in read.kept.items()}
    _write_folder(Path(target), files)
    return len(tensors), tuple(read.tasks)


def _official(read: Checkpoint) -> dict[str, Later]:
    """The core's tensors under their official names."""
    config = official_config(parse_object(read.kept[CONFIG], CONFIG, error=CheckpointError), CONFIG)
    core = {name.removeprefix(CORE_PREFIX): tensor for name, tensor in read.core.items()}
    text: Mapping[str, Any] = config.internvl["text_config"]
    return official_tensors(core, places(list(core), config.family.name, text))


def _sharded(tensors: Mapping[str, Later]) -> dict[str, dict[str, Later]]:
    """Whole tensors in their order, each file filled as far as the limit lets."""
    shards: list[dict[str, Later]] = [{}]
    filled = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if shards[-1] and filled + size > SHARD_BYTES:
            shards.append({})
            filled = 0
        shards[-1][name] = tensor
        filled += size
    if len(shards) == 1:
        return {WHOLE: shards[0]}
    return {f"model-{k:05}-of-{len(shards):05}.safetensors": shard for k, shard in enumerate(shards, 1)}


def _counted(tensors: Mapping[str, Any], told: Told | None) -> dict[str, Any]:
    """The same tensors, each of which is heard of when it is read."""
    whole = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    done = 0

    def heard(tensor: Any) -> Tensor:
        nonlocal done
        done += tensor.numel() * tensor.element_size()
        if told is not None:
            told(done, whole)
        read: Tensor = tensor.detach()
        return read

    return {
        name: Later(tuple(tensor.shape), tensor.dtype, partial(heard, tensor))
        for name, tensor in tensors.items()
    }


def _write_folder(target: Path, files: Mapping[str, Chunks]) -> None:
    """All files at once or none: they are written into a hidden folder beside, which then takes the place."""
    with guarded_write(target, CheckpointError):
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise CheckpointError(f"'{shown_path(target)}' is there and not empty; write to another folder")
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.parent / f".chiasm-{secrets.token_hex(6)}.part"
        part.mkdir()
        try:
            for name, chunks in files.items():
                if os.path.basename(name) != name:
                    raise CheckpointError(f"'{shown(name, 60)}' is no name of a file")
                store(part / name, chunks())
            sync_folder(part)
            os.replace(part, target)
            sync_folder(target.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)
