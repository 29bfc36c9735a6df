"""Weights of a foreign folder: `model.safetensors`, or shards with an index; every header is checked before a tensor.

Refused by name: shards that are no plain files of this folder, links, pickles, `model*.safetensors` that the index does
not list, tensors that are missing from the index or from the shard it names, tensors in two shards.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chiasm_registry.errors import CheckpointError, shown, shown_path

from ..limits import LIMITS, Limits
from ..strict_json import parse_object
from .files import folder_names, open_regular, read_file, refuse_lookalikes
from .later import OpenFile, Stored
from .tensors import parse_header

WHOLE, INDEX, SUFFIX = "model.safetensors", "model.safetensors.index.json", ".safetensors"
_CODE = (".so", ".pyd", ".dll", ".dylib", ".pyc", ".sh", ".exe")
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".npy", ".npz", ".msgpack", ".h5")


def names_in(root: Path, known_code: frozenset[str] = frozenset()) -> set[str]:
    """What a foreign folder holds; refused when that could be run or unpickled, but for code files of a known name.

    Those are never opened: they are what the publishers put beside their weights.
    """
    names, where = folder_names(root), f"'{shown_path(root)}'"
    for name in sorted(names):
        lower = name.lower()
        if lower.endswith(_PICKLES):
            raise CheckpointError(f"{where} holds '{shown(name, 60)}', a pickle, never opened here; remove it")
        if lower.endswith(_CODE) or (lower.endswith(".py") and name not in known_code):
            raise CheckpointError(f"{where} holds the code file '{shown(name, 60)}', never run here; remove it")
    if "adapter_config.json" in names:
        raise CheckpointError(f"{where} holds 'adapter_config.json': an adapter; merge it into the model first")
    return names


def open_shards(
    root: Path, names: set[str], *, follow_links: bool = False, limits: Limits = LIMITS
) -> dict[str, Stored]:
    """Every tensor of the folder by name, none read yet; weights of more than `limits.copied_bytes` are mapped."""
    shards = sorted(name for name in names if name.endswith(SUFFIX))
    table = _index(root, follow_links) if INDEX in names else None
    listed = sorted(set(table.values())) if table is not None else [WHOLE]
    where = f"'{shown_path(root)}'"
    if not shards:
        raise CheckpointError(f"{where} holds no safetensors file; download the weights again")
    for name in listed:
        if name not in shards:
            whose = f"which {INDEX} lists" if table is not None else f"and no {INDEX}"
            raise CheckpointError(f"{where} has no file '{shown(name, 60)}', {whose}; download it again")
    if strangers := [name for name in shards if name not in listed and name.startswith(("model", "adapter"))]:
        raise CheckpointError(f"{where} holds '{shown(strangers[0], 60)}', which no index lists; remove it")
    found: dict[str, Stored] = {}
    homes: dict[str, str] = {}
    mapped = sum(_size(root / file) for file in listed) > limits.copied_bytes
    for file in listed:
        own = open_file(root / file, follow_links=follow_links, mapped=mapped)
        if twice := next((key for key in own if key in found), None):
            raise CheckpointError(f"'{shown(file, 60)}' holds '{shown(twice)}', which '{homes[twice]}' holds too")
        found |= own
        homes |= dict.fromkeys(own, file)
    if table is not None:
        _check_index(table, homes)
    return found


def open_file(path: Path, *, follow_links: bool = False, mapped: bool = False) -> dict[str, Stored]:
    """The tensors of one safetensors file, in the order in which they stand."""
    name = f"'{shown_path(path, 60)}'"
    descriptor = open_regular(path, name, follow_links=follow_links)
    file = OpenFile(descriptor, name, mapped=mapped)
    size = os.fstat(descriptor).st_size
    start = bytearray(min(size, 64))
    file.fill(memoryview(start), 0)
    refuse_lookalikes(start, name)
    length = int.from_bytes(start[:8], "little")
    head = bytearray(min(size, 8 + length if length <= LIMITS.header_bytes else 8))
    file.fill(memoryview(head), 0)
    header = parse_header(head, name, size)
    return {entry.name: file.later(entry, header.size) for entry in header.entries}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # opening it will say what is wrong


def _index(root: Path, follow_links: bool) -> dict[str, str]:
    """Tensor names to shard names, each a plain file name."""
    name = f"'{shown_path(root / INDEX)}'"
    data = read_file(root / INDEX, name, LIMITS.header_bytes, follow_links=follow_links)
    table: Any = parse_object(data, name, error=CheckpointError)
    weights = table.get("weight_map")
    if not isinstance(weights, dict) or not weights:
        raise CheckpointError(f"{name} has no weight_map; download it again")
    if len(weights) > LIMITS.tensors:
        raise CheckpointError(f"{name} lists {len(weights)} tensors; the limit is {LIMITS.tensors}")
    for key, file in weights.items():
        plain = isinstance(file, str) and file == os.path.basename(file) and "\\" not in file and "\0" not in file
        if not plain or file.startswith(".") or not file.endswith(SUFFIX):
            raise CheckpointError(
                f"{name}: '{shown(key, 60)}' is in '{shown(file, 60)}'; only plain *{SUFFIX} names are read"
            )
    return dict(weights)


def _check_index(table: Mapping[str, str], homes: Mapping[str, str]) -> None:
    for key, file in table.items():
        if homes.get(key) != file:
            raise CheckpointError(f"'{shown(file, 60)}' does not hold '{shown(key)}', though {INDEX} says so")
    if extra := next((key for key in homes if key not in table), None):
        raise CheckpointError(f"'{shown(homes[extra], 60)}' holds '{shown(extra)}', which {INDEX} does not list")

