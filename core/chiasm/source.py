"""A model's folder, whoever wrote it: chiasm's own, the official InternVL2 layout, or transformers' own of any design.

All become a `Checkpoint`. Of a foreign folder nothing is run, and weights stay on the disk until they are used.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from chiasm_registry.errors import CheckpointError, shown, shown_path

from .backbone.native import is_native, open_native
from .backbone.official.config import is_official
from .backbone.official.folder import GENERATION, OfficialFolder, open_official, read_config
from .backbone.released import KINDS, design_of, open_released
from .checkpoint import Checkpoint, Manifest, read_checkpoint
from .checkpoint.files import read_file
from .checkpoint.folder import pending
from .checkpoint.manifest import CONFIG, MANIFEST
from .limits import LIMITS
from .text import TEMPLATES
from .text.added import image_id, listed_tokens
from .text.renamed import renamed_json
from .text.shipped import FILES, WHOLE, shipped_json

INSTRUCTION = "Find what is named."  # what guided mode says to a model that learned no instruction of its own
_PREPROCESSOR = "preprocessor_config.json"
_SPOKEN = {"phi3": "phi3-chat"}  # templates of language models that know no other
CORE_PREFIX = "internvl."  # of the core's tensors in a checkpoint


def open_model(path: str | os.PathLike[str], *, follow_links: bool = False) -> Checkpoint:
    """The checkpoint in a folder of any of the three kinds; raises `CheckpointError`.

    Links in a foreign folder are only followed when asked, as they lead out of it.
    """
    root = Path(path)
    if _has(root, MANIFEST) or _has(root, pending(MANIFEST)) or not _has(root, CONFIG):
        return read_checkpoint(root)
    raw = read_config(root, follow_links=follow_links)
    if is_official(raw):
        return _official(root, open_official(root, raw, follow_links=follow_links), follow_links)
    if is_native(raw):
        return _native(root, raw, follow_links)
    if design_of(raw) is not None:
        return _released(root, raw, follow_links)
    kind, known = shown(repr(raw.get("model_type")), 40), ", ".join(("chiasm", "internvl_chat", "internvl", *KINDS))
    raise CheckpointError(f"'{shown_path(root / CONFIG)}' is of a {kind}; known: {known}")


def _has(root: Path, name: str) -> bool:
    try:
        return (root / name).exists()
    except (OSError, ValueError):
        return False


def _official(root: Path, folder: OfficialFolder, follow_links: bool) -> Checkpoint:
    template = folder.config.template
    where = f"'{shown_path(root / CONFIG)}'"
    if template not in TEMPLATES:
        known = shown(", ".join(TEMPLATES), 80)
        raise CheckpointError(f"{where}: no template {shown(repr(template), 40)}; known: {known}")
    tokenizer_json = shipped_json(root, follow_links=follow_links)
    image = _image_id(tokenizer_json, folder.config.internvl, root)
    config = {**folder.config.described(image, folder.tied), "text_boxes": True}
    if folder.config.system is not None:
        config["system"] = folder.config.system
    return _checkpoint(template, config, tokenizer_json, folder.tensors, _kept(root, follow_links))


def _native(root: Path, raw: dict[str, Any], follow_links: bool) -> Checkpoint:
    config, tensors = open_native(root, raw, follow_links=follow_links)
    tokenizer_json = shipped_json(root, follow_links=follow_links)
    _image_id(tokenizer_json, config["internvl"], root)
    template = _SPOKEN.get(config["internvl"]["text_config"]["model_type"], "internvl2_5")
    return _checkpoint(template, {**config, "text_boxes": True}, tokenizer_json, tensors)


def _kept(root: Path, follow_links: bool) -> dict[str, bytes]:
    """The files of an official folder, but for its weights, as they are: what the way back needs."""
    names = [name for name in (CONFIG, GENERATION, _PREPROCESSOR, *FILES) if _has(root, name)]
    paths = {name: (root / name, f"'{shown_path(root / name)}'") for name in names}
    limit = LIMITS.tokenizer_bytes
    return {name: bytes(read_file(*paths[name], limit, follow_links=follow_links)) for name in names}


def _checkpoint(
    template: str,
    config: dict[str, Any],
    tokenizer_json: str,
    tensors: dict[str, Any],
    kept: Mapping[str, bytes] = MappingProxyType({}),
) -> Checkpoint:
    core = {CORE_PREFIX + name: tensor for name, tensor in tensors.items()}
    manifest = Manifest(design="internvl", template=template, guided_instruction=INSTRUCTION, files={})
    return Checkpoint(manifest, config, tokenizer_json, core, {}, kept=kept)


def _image_id(tokenizer_json: str, config: Mapping[str, Any], root: Path) -> int:
    return image_id(listed_tokens(tokenizer_json), config["text_config"]["vocab_size"], f"'{shown_path(root)}'")


def _released(root: Path, raw: dict[str, Any], follow_links: bool) -> Checkpoint:
    design = KINDS[raw["model_type"]]
    config, tensors = open_released(root, raw, follow_links=follow_links)
    path = root / WHOLE
    if not _has(root, WHOLE):
        raise CheckpointError(f"'{shown_path(root)}' has no {WHOLE}; save its tokenizer with transformers once")
    text = read_file(path, f"'{shown_path(path)}'", LIMITS.tokenizer_bytes, follow_links=follow_links)
    rows = next((e.shape[0] for n, e in tensors.items() if n.endswith("embed_tokens.weight") and len(e.shape) == 2), 0)
    tokenizer_json = renamed_json(bytes(text), design.markers, rows, f"'{shown_path(path)}'")
    kind = str((raw.get("text_config") or {}).get("model_type", ""))
    template = design.template.get(kind, design.template[""])
    manifest = Manifest(design=design.name, template=template, guided_instruction=INSTRUCTION, files={})
    return Checkpoint(manifest, config, tokenizer_json, dict(tensors), {})
