"""An official folder, opened: its configuration and its tensors under transformers' names, none of them read yet.

What is missing, extra or misshapen is named before anything is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from chiasm_registry.errors import CheckpointError, shown, shown_path
from torch import Tensor

from ...checkpoint.config import check_config
from ...checkpoint.files import read_file
from ...checkpoint.later import Later, Stored
from ...checkpoint.shards import names_in, open_shards
from ...limits import LIMITS
from ...strict_json import parse_object
from ..build import blank_internvl
from .allowed import OFFICIAL_CODE
from .config import Official, official_config
from .names import HEAD, Place, places
from .network import OfficialInternVL

CONFIG, GENERATION, _JINJA = "config.json", "generation_config.json", "chat_template.jinja"
_STALE = ".rotary_emb.inv_freq"  # a buffer that older programs stored; it follows from the configuration


@dataclass(frozen=True, eq=False)
class OfficialFolder:
    """What is in it; `tensors` by transformers' names."""

    config: Official
    tied: bool
    tensors: dict[str, Later]
    blank: OfficialInternVL  # a network for them, whose head is not tied

    def network(self, image_token_id: int) -> OfficialInternVL:
        """The network without weights for this folder; each call may give the same one."""
        if self.tied:
            return blank_internvl(self.config.described(image_token_id, tied=True))
        self.blank.config.image_token_id = image_token_id
        return self.blank


def read_config(root: Path, *, follow_links: bool = False) -> dict[str, Any]:
    """The `config.json` of a foreign folder: an object in strict JSON, its meaning not yet checked."""
    name = f"'{shown_path(root / CONFIG)}'"
    data = read_file(root / CONFIG, name, LIMITS.header_bytes, follow_links=follow_links)
    return parse_object(data, name, error=CheckpointError)


def open_official(root: Path, raw: dict[str, Any], *, follow_links: bool = False) -> OfficialFolder:
    """The folder of this `config.json`; raises `CheckpointError` that names the file and the tensor."""
    where = f"'{shown_path(root / CONFIG)}'"
    config = official_config(raw, where)
    names = names_in(root, OFFICIAL_CODE)
    if _JINJA in names:
        raise CheckpointError(f"'{shown_path(root)}' holds '{_JINJA}'; prompts are chiasm's own, remove it")
    _check_generation(root, names, follow_links)
    entries = open_shards(root, names, follow_links=follow_links)
    entries = {name: entry for name, entry in entries.items() if not name.endswith(_STALE)}
    blank = blank_internvl(config.described(0, tied=False))
    shapes = {name: tuple(tensor.shape) for name, tensor in blank.state_dict().items()}
    found = places(list(shapes), config.family.name, config.internvl["text_config"])
    head = next(place for place in found if place.natives == (HEAD,))
    tied = head.official not in entries and config.wants_tied
    kept = tuple(place for place in found if not (tied and place is head))
    _check(entries, kept, shapes, shown_path(root))
    return OfficialFolder(config, tied, _native(entries, kept), blank)


def _check_generation(root: Path, names: set[str], follow_links: bool) -> None:
    """How answers are generated is the caller's to say; the file is only held to what it may hold."""
    if GENERATION in names:
        name = f"'{shown_path(root / GENERATION)}'"
        data = read_file(root / GENERATION, name, LIMITS.header_bytes, follow_links=follow_links)
        check_config(parse_object(data, name, error=CheckpointError), name)


def _check(
    entries: Mapping[str, Later], wanted: Sequence[Place], shapes: Mapping[str, tuple[int, ...]], root: str
) -> None:
    names = {place.official for place in wanted}
    if missing := [place.official for place in wanted if place.official not in entries]:
        raise CheckpointError(f"'{root}' lacks the tensor '{shown(missing[0])}' ({len(missing)} missing)")
    if extra := sorted(entries.keys() - names):
        raise CheckpointError(f"'{root}' holds the unknown tensor '{shown(extra[0])}' ({len(extra)} extra)")
    for place in wanted:
        entry, shape = entries[place.official], place.shape(shapes)
        if entry.shape != shape:
            raise CheckpointError(f"'{root}': '{shown(place.official)}' is {entry.shape}, config.json wants {shape}")
        if not entry.is_floating_point():
            raise CheckpointError(f"'{root}': '{shown(place.official)}' is {entry.dtype}; weights are floats")


def _native(entries: Mapping[str, Stored], wanted: Sequence[Place]) -> dict[str, Later]:
    """Native tensors in the order in which the official ones stand on the disk."""
    by_name = {place.official: place for place in wanted}
    native: dict[str, Later] = {}
    for name, entry in entries.items():
        place = by_name[name]
        if len(place.natives) == 1:
            native[place.natives[0]] = entry
            continue
        native |= zip(place.natives, map(entry.rows, place.rows(entry.shape[0])), strict=True)
    return native


def official_tensors(tensors: Mapping[str, Tensor | Later], wanted: Sequence[Place]) -> dict[str, Later]:
    """The official tensors of native ones, made when they are read."""

    def made(place: Place) -> Tensor:
        return place.join([tensors[name].detach() for name in place.natives])

    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    dtypes: dict[str, torch.dtype] = {name: tensor.dtype for name, tensor in tensors.items()}
    return {
        place.official: Later(place.shape(shapes), dtypes[place.natives[0]], partial(made, place)) for place in wanted
    }
