"""Folders of other designs as transformers' own classes write them: LLaVA, LLaVA-NeXT, BLIP-2, Qwen2-VL.

Nothing of the folder is run; a `config.json` keeps only what describes the network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chiasm_registry.errors import CheckpointError, shown, shown_path

from ..checkpoint.config import check_config
from ..checkpoint.later import Later
from ..checkpoint.shards import names_in, open_shards

_TOWERS = ((r"^vision_tower\.vision_model\.", "model.vision_tower."), (r"^vision_tower\.", "model.vision_tower."),
           (r"^model\.vision_tower\.vision_model\.", "model.vision_tower."))  # fmt: skip
_LLAVA = (
    (r"^language_model\.lm_head\.", "lm_head."),
    (r"^language_model\.model\.", "model.language_model."),
    (r"^(multi_modal_projector\.|image_newline)", r"model.\1"),
    *_TOWERS,
)
_QWEN = (
    (r"^visual\.", "model.visual."),
    (r"^model\.(layers\.|embed_tokens\.|norm\.)", r"model.language_model.\1"),
)
_STALE = re.compile(r"(^|\.)(position_ids|inv_freq)$")  # buffers that follow from the configuration
_PARTS = ("text_config", "vision_config", "qformer_config")
_MEANINGLESS = ("architectures", "transformers_version", "torch_dtype", "dtype", "_name_or_path", "use_cache")


@dataclass(frozen=True)
class Design:
    """How a kind of folder becomes one of chiasm's designs."""

    name: str  # in chiasm's `config.json`
    prefix: str  # of the network in its backbone
    head: str  # the tensor that is missing where input and output share one
    renames: tuple[tuple[str, str], ...]
    markers: Mapping[str, str]  # this design's name of a control token, and chiasm's
    template: Mapping[str, str]  # by the kind of language model; "" for any other


_IMAGE = {"<image>": "<IMG_CONTEXT>"}
_QWEN_MARKERS = {
    "<|image_pad|>": "<IMG_CONTEXT>", "<|vision_start|>": "<img>", "<|vision_end|>": "</img>",
    "<|object_ref_start|>": "<ref>", "<|object_ref_end|>": "</ref>",
}  # fmt: skip
_CHAT = {"": "vicuna", "mistral": "mistral"}
KINDS: Mapping[str, Design] = {
    "llava": Design("llava", "llava.", "lm_head.weight", _LLAVA, _IMAGE, _CHAT),
    "llava_next": Design("llava_next", "llava.", "lm_head.weight", _LLAVA, _IMAGE, _CHAT),
    "blip-2": Design("blip2", "blip2.", "language_model.lm_head.weight", (), _IMAGE, {"": "blip2"}),
    "qwen2_vl": Design("qwen2_vl", "qwen.", "lm_head.weight", _QWEN, _QWEN_MARKERS, {"": "qwen2-vl"}),
}


def design_of(config: Mapping[str, Any]) -> Design | None:
    """The design of a folder with this `config.json`, if it is one of these."""
    kind = config.get("model_type")
    return KINDS.get(kind) if isinstance(kind, str) else None


def open_released(
    root: Path, raw: dict[str, Any], *, follow_links: bool = False
) -> tuple[dict[str, Any], dict[str, Later]]:
    """chiasm's `config.json` for the folder, and the core's tensors by its names, none of them read yet."""
    design = design_of(raw)
    assert design is not None
    where = f"'{shown_path(root / 'config.json')}'"
    check_config(raw, where)
    for key in _PARTS:
        if not isinstance(raw.get(key), (dict, type(None))):
            raise CheckpointError(f"{where}: {key} is {shown(repr(raw[key]), 40)}; it must be an object")
    entries = open_shards(root, names_in(root), follow_links=follow_links)
    tensors: dict[str, Later] = {}
    for stored, entry in entries.items():
        name = _renamed(stored, design.renames)
        if name in tensors:
            raise CheckpointError(f"'{shown_path(root)}' holds '{shown(stored)}' under another name, too")
        if not _STALE.search(name):
            tensors[name] = entry
    own = _described(raw)
    tied = design.head not in tensors
    own["tie_word_embeddings"] = tied
    if isinstance(own.get("text_config"), dict):
        own["text_config"]["tie_word_embeddings"] = tied
    return {"design": design.name, design.name: own}, {design.prefix + name: entry for name, entry in tensors.items()}


def _renamed(name: str, renames: tuple[tuple[str, str], ...]) -> str:
    for pattern, new in renames:
        changed = re.sub(pattern, new, name)
        if changed != name:
            return changed
    return name


def _described(config: Mapping[str, Any]) -> dict[str, Any]:
    """What describes the network: no names of classes, types or places."""
    return {
        key: _described(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in _MEANINGLESS
    }
