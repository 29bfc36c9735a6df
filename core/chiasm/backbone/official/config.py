"""An official `config.json` (InternVLChatModel) as a description that transformers' own InternVL can be built from.

Nothing is looked up: each number comes from the file, or is what the official code of that family takes for granted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chiasm_registry.errors import CheckpointError, shown

from .allowed import TEXT, TOP, VISION, checked
from .rope import rope_of

CHAT_MODEL = "internvl_chat"


@dataclass(frozen=True)
class Family:
    """What the official code of a language model takes for granted, and where transformers has it."""

    name: str
    native: str  # transformers' model_type
    rms_norm_eps: float
    positions: int
    defaults: Mapping[str, Any]


_FAMILIES = {
    "Qwen2ForCausalLM": Family("qwen2", "qwen2", 1e-6, 32768, {}),
    "InternLM2ForCausalLM": Family("internlm2", "llama", 1e-6, 2048, {"bias": True}),
    "Phi3ForCausalLM": Family("phi3", "phi3", 1e-5, 4096, {}),
    "LlamaForCausalLM": Family("llama", "llama", 1e-6, 2048, {}),
}
_BY_TYPE = {family.name: family for family in _FAMILIES.values()}
_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")


@dataclass(frozen=True)
class Official:
    """A checked configuration: `internvl` is transformers' description, the rest is ours."""

    family: Family
    internvl: dict[str, Any]
    tile: int
    min_tiles: int
    max_tiles: int
    thumbnail: bool
    template: str
    system: str | None  # what the folder itself wants to be said, if it says so
    wants_tied: bool  # whether the file calls head and embedding one; the tensors decide

    def described(self, image_token_id: int, tied: bool) -> dict[str, Any]:
        """chiasm's `config.json` for it."""
        text = {**self.internvl["text_config"], "tie_word_embeddings": tied}
        internvl = {**self.internvl, "text_config": text, "tie_word_embeddings": tied, "image_token_id": image_token_id}
        tiles = {"tile": self.tile, "min_tiles": self.min_tiles, "max_tiles": self.max_tiles}
        return {"design": "internvl", "internvl": internvl, "trunk": False, **tiles, "thumbnail": self.thumbnail}


def is_official(config: Mapping[str, Any]) -> bool:
    """Whether a `config.json` is of the official layout."""
    return config.get("model_type") == CHAT_MODEL or "llm_config" in config


def official_config(config: Mapping[str, Any], where: str) -> Official:
    """The checked description; `where` is how messages call the file."""
    top = checked(config, TOP, where)
    if not top.get("llm_config") or not top.get("vision_config"):
        raise CheckpointError(f"{where} has no {'llm_config' if not top.get('llm_config') else 'vision_config'}")
    vision = checked(top["vision_config"], VISION, f"{where}: vision_config")
    family = _family(top["llm_config"], where)
    text = checked(top["llm_config"], TEXT, f"{where}: llm_config")
    ratio = top.get("downsample_ratio", 0.5)
    tile = top.get("force_image_size") or vision.get("image_size", 224)
    low, high = top.get("min_dynamic_patch", 1), top.get("max_dynamic_patch", 6)
    if low > high:
        raise CheckpointError(f"{where}: min_dynamic_patch {low} is over max_dynamic_patch {high}")
    if (1 / ratio) % 1 or (tile // vision.get("patch_size", 14)) % round(1 / ratio):
        raise CheckpointError(f"{where}: a tile of {tile} pixels gives no grid that downsample_ratio {ratio} divides")
    layer, layers = top.get("select_layer", -1), vision.get("num_hidden_layers", 48)
    if not -layers - 1 <= layer <= layers:
        raise CheckpointError(f"{where}: select_layer is {layer}, the vision model has {layers} layers")
    internvl = {
        "downsample_ratio": ratio,
        "vision_feature_layer": layer,
        "ps_version": top.get("ps_version", "v1"),
        "image_seq_length": int((tile // vision.get("patch_size", 14) * ratio) ** 2),
        "vision_config": _vision(vision, where),
        "text_config": _text(text, family, f"{where}: llm_config"),
    }
    tiles = (low, high, top.get("use_thumbnail", False))
    tied = bool(text.get("tie_word_embeddings", False))
    return Official(family, internvl, tile, *tiles, top.get("template") or "", top.get("system_message"), tied)


def _family(llm: Mapping[str, Any], where: str) -> Family:
    """By its architecture, as the official code does it."""
    named = llm.get("architectures")
    name = named[0] if isinstance(named, list) and named else None
    family = _FAMILIES.get(name) if isinstance(name, str) else _BY_TYPE.get(str(llm.get("model_type")))
    if family is None:
        raise CheckpointError(
            f"{where}: llm_config is a {shown(repr(name or llm.get('model_type')), 40)}; known: {', '.join(_FAMILIES)}"
        )
    return family


def _vision(vision: Mapping[str, Any], where: str) -> dict[str, Any]:
    width, heads = vision.get("hidden_size", 3200), vision.get("num_attention_heads", 25)
    if width % heads:
        raise CheckpointError(f"{where}: vision_config: {heads} heads do not divide the width {width}")
    return {
        "hidden_size": width,
        "intermediate_size": vision.get("intermediate_size", 12800),
        "num_hidden_layers": vision.get("num_hidden_layers", 48),
        "num_attention_heads": heads,
        "image_size": vision.get("image_size", 224),
        "patch_size": vision.get("patch_size", 14),
        "hidden_act": vision.get("hidden_act", "gelu"),
        "layer_norm_eps": vision.get("layer_norm_eps", 1e-6),
        "norm_type": vision.get("norm_type", "rms_norm"),
        "use_qk_norm": vision.get("qk_normalization", True),
        "attention_bias": vision.get("qkv_bias", False),
        "use_mean_pooling": True,  # the official model has no norm behind its last layer
        "layer_scale_init_value": 0.1,
        "initializer_range": vision.get("initializer_range", 0.02),
    }


def _text(text: Mapping[str, Any], family: Family, where: str) -> dict[str, Any]:
    for key in _SIZES:
        if key not in text:
            raise CheckpointError(f"{where} has no {key}")
    width, heads = text["hidden_size"], text["num_attention_heads"]
    groups = text.get("num_key_value_heads") or heads
    if width % heads or heads % groups:
        raise CheckpointError(f"{where}: {heads} heads and {groups} key/value heads do not divide the width {width}")
    if (width // heads) % 2:
        raise CheckpointError(f"{where}: heads of {width // heads} numbers cannot be rotated in pairs")
    if text.get("head_dim") not in (None, width // heads):
        raise CheckpointError(f"{where}: head_dim is {text['head_dim']}; here it is hidden_size over heads")
    made = {key: text[key] for key in _SIZES}
    made |= {
        "model_type": family.native,
        "num_key_value_heads": groups,
        "hidden_act": text.get("hidden_act", "silu"),
        "rms_norm_eps": text.get("rms_norm_eps", family.rms_norm_eps),
        "max_position_embeddings": text.get("max_position_embeddings", family.positions),
        "initializer_range": text.get("initializer_range", 0.02),
        "rope_parameters": rope_of(text, family.name, width // heads, where),
        **{key: text.get(key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")},
    }
    if (pad := made["pad_token_id"]) is not None and pad >= made["vocab_size"]:
        raise CheckpointError(f"{where}: pad_token_id {pad} is outside the vocabulary of {made['vocab_size']}")
    if family.native == "llama":
        bias = text.get("bias", True) if family.name == "internlm2" else text.get("attention_bias", False)
        made |= {"attention_bias": bias, "mlp_bias": text.get("mlp_bias", False)}
    if family.name == "qwen2":
        made |= {key: text[key] for key in ("sliding_window", "use_sliding_window", "max_window_layers") if key in text}
    if family.name == "phi3":
        made["sliding_window"] = text.get("sliding_window")
        if "original_max_position_embeddings" in text:
            made["original_max_position_embeddings"] = text["original_max_position_embeddings"]
    if not all(math.isfinite(value) for value in made.values() if isinstance(value, float)):
        raise CheckpointError(f"{where} holds a number that is not finite")
    return made
