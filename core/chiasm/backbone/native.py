"""Folders of transformers' own InternVL (`model_type` "internvl"): read as the official ones, without their library.

Older folders name some tensors otherwise; both are understood.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chiasm_registry.errors import CheckpointError, shown, shown_path

from ..checkpoint.config import check_config
from ..checkpoint.later import Later
from ..checkpoint.shards import names_in, open_shards
from .build import blank_internvl
from .official.allowed import TEXT, TOP
from .official.folder import CONFIG
from .official.names import HEAD

NATIVE = "internvl"
SHUFFLE = "ps_version"  # of a network that came from an official folder
_LANGUAGE = ("qwen2", "llama", "phi3")
_TOP = ("downsample_ratio", "image_seq_length", "image_token_id", "projector_hidden_act", "tie_word_embeddings",
        "vision_feature_layer", SHUFFLE)  # fmt: skip
_VISION = frozenset(
    re.findall(r"\w+", """hidden_size intermediate_size num_hidden_layers num_attention_heads num_channels image_size
    patch_size hidden_act
    layer_norm_eps norm_type use_qk_norm attention_bias use_mean_pooling layer_scale_init_value attention_dropout
    hidden_dropout_prob projection_dropout initializer_range use_absolute_position_embeddings use_mask_token""")
)
_TEXT = frozenset(TEXT) | {"model_type", "rope_parameters", "layer_types"}
_OLDER = (
    ("language_model.model.", "model.language_model."),
    ("model.language_model.model.", "model.language_model."),  # what transformers calls a network built by a program
    ("language_model.lm_head.", "lm_head."),
    ("vision_tower.", "model.vision_tower."),
    ("multi_modal_projector.", "model.multi_modal_projector."),
)


def is_native(config: Mapping[str, Any]) -> bool:
    """Whether a `config.json` is of transformers' own layout."""
    return config.get("model_type") == NATIVE and isinstance(config.get("text_config"), dict)


def open_native(
    root: Path, raw: dict[str, Any], *, follow_links: bool = False
) -> tuple[dict[str, Any], dict[str, Later]]:
    """chiasm's `config.json` for the folder, and its tensors, none of them read yet."""
    where = f"'{shown_path(root / CONFIG)}'"
    check_config(raw, where)
    text, vision = raw["text_config"], raw.get("vision_config")
    if not isinstance(vision, dict) or text.get("model_type") not in _LANGUAGE:
        kind = shown(repr(text.get("model_type")), 40)
        raise CheckpointError(f"{where}: text_config is a {kind}; known: {', '.join(_LANGUAGE)}")
    if SHUFFLE in raw and not TOP[SHUFFLE].fits(raw[SHUFFLE]):
        raise CheckpointError(f"{where}: {SHUFFLE} is {shown(repr(raw[SHUFFLE]), 40)}; it must be {TOP[SHUFFLE]}")
    entries = open_shards(root, names_in(root), follow_links=follow_links)
    tensors: dict[str, Later] = {_renamed(name): entry for name, entry in entries.items()}
    tied = HEAD not in tensors
    internvl = {key: raw[key] for key in _TOP if key in raw}
    internvl |= {
        "vision_config": {key: value for key, value in vision.items() if key in _VISION},
        "text_config": {**{k: v for k, v in text.items() if k in _TEXT}, "tie_word_embeddings": tied},
        "tie_word_embeddings": tied,
    }
    config = {"design": "internvl", "internvl": internvl, "trunk": False}
    shapes = {name: tuple(tensor.shape) for name, tensor in blank_internvl(config).state_dict().items()}
    _check(shapes, tensors, tied, shown_path(root))
    return config, tensors


def _renamed(name: str) -> str:
    for old, new in _OLDER:
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _check(shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Later], tied: bool, root: str) -> None:
    wanted = {name for name in shapes if not (tied and name == HEAD)}
    if missing := sorted(wanted - tensors.keys()):
        raise CheckpointError(f"'{root}' lacks the tensor '{shown(missing[0])}' ({len(missing)} missing)")
    if extra := sorted(tensors.keys() - wanted):
        raise CheckpointError(f"'{root}' holds the unknown tensor '{shown(extra[0])}' ({len(extra)} extra)")
    for name in wanted:
        if tensors[name].shape != shapes[name] or not tensors[name].is_floating_point():
            found = f"{tensors[name].shape} {tensors[name].dtype}"
            raise CheckpointError(f"'{root}': '{shown(name)}' is {found}, config.json wants floats {shapes[name]}")
