"""Official names of tensors against transformers' own, and which official tensor holds several of them.

The vision model keeps query, key and value in one matrix, one after the other; InternLM2 keeps them interleaved: for
each key/value head its query heads, then the key, then the value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_VISION = (
    (r"embeddings\.cls_token$", "embeddings.class_embedding"),
    (r"embeddings\.position_embeddings$", "embeddings.position_embedding"),
    (r"embeddings\.patch_embeddings\.projection\.", "embeddings.patch_embedding."),
    (r"encoder\.layer\.(\d+)\.", r"encoder.layers.\1."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.lambda_([12])$", r".ls\1"),
    (r"\.attention\.[qkv]_proj\.", ".attn.qkv."),
    (r"\.attention\.projection_layer\.", ".attn.proj."),
    (r"\.attention\.([qk])_norm\.", r".attn.\1_norm."),
)
_INTERNLM2 = (
    (r"\.self_attn\.[qkv]_proj\.", ".attention.wqkv."),
    (r"\.self_attn\.o_proj\.", ".attention.wo."),
    (r"\.input_layernorm\.", ".attention_norm."),
    (r"\.post_attention_layernorm\.", ".ffn_norm."),
    (r"\.mlp\.gate_proj\.", ".feed_forward.w1."),
    (r"\.mlp\.up_proj\.", ".feed_forward.w3."),
    (r"\.mlp\.down_proj\.", ".feed_forward.w2."),
    (r"\.embed_tokens\.", ".tok_embeddings."),
)
_PROJECTOR = {"layer_norm": "mlp1.0", "linear_1": "mlp1.1", "linear_2": "mlp1.3"}
HEAD = "lm_head.weight"


@dataclass(frozen=True)
class Place:
    """One official tensor and the native ones in it: one, or query, key and value as `heads` per key/value head."""

    official: str
    natives: tuple[str, ...]
    groups: int = 0  # key/value heads whose rows are interleaved; 0: one after the other
    queries: int = 0  # query heads of a group

    def rows(self, count: int) -> list[list[slice]]:
        """Where the rows of each native tensor stand among the `count` of the official one."""
        groups, queries = (self.groups, self.queries) if self.groups else (1, 1)
        head = count // (groups * (queries + 2))
        group = range(0, count, count // groups)
        parts = (0, queries), (queries, queries + 1), (queries + 1, queries + 2)  # query, key, value; in heads
        return [[slice(start + low * head, start + high * head) for start in group] for low, high in parts]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """The official tensor of the native ones."""
        if len(parts) == 1:
            return parts[0]
        if not self.groups:
            return torch.cat(list(parts))
        rest = parts[0].shape[1:]
        query = parts[0].view(self.groups, self.queries, -1, *rest)
        others = [part.view(self.groups, 1, -1, *rest) for part in parts[1:]]
        return torch.cat([query, *others], 1).reshape(-1, *rest)

    def shape(self, natives: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
        """The official tensor's shape."""
        first = natives[self.natives[0]]
        return first if len(self.natives) == 1 else (sum(natives[name][0] for name in self.natives), *first[1:])


def places(natives: Sequence[str], family: str, text: Mapping[str, Any]) -> list[Place]:
    """Where each native tensor stands in the official layout; native names are those of transformers' InternVL."""
    found: dict[str, list[str]] = {}
    for name in natives:
        found.setdefault(_official(name, family), []).append(name)
    groups = int(text["num_key_value_heads"])
    made = []
    for official, names in found.items():
        names.sort(key=_order)
        if len(names) == 1:
            made.append(Place(official, (names[0],)))
        elif official.startswith("vision_model."):
            made.append(Place(official, tuple(names)))
        else:
            made.append(Place(official, tuple(names), groups, int(text["num_attention_heads"]) // groups))
    return made


def _order(name: str) -> int:
    """Query, key, value: as they stand in one tensor."""
    return next((k for k, part in enumerate((".q_proj.", ".k_proj.", ".v_proj.")) if part in name), 0)


def _official(name: str, family: str) -> str:
    if name == HEAD:
        return "language_model.output.weight" if family == "internlm2" else "language_model.lm_head.weight"
    part, _, rest = name.removeprefix("model.").partition(".")
    if part == "multi_modal_projector":
        layer, _, leaf = rest.partition(".")
        return f"{_PROJECTOR[layer]}.{leaf}"
    if part == "vision_tower":
        return "vision_model." + _renamed(rest, _VISION)
    own = f"language_model.model.{rest}"
    return _renamed(own, _INTERNLM2) if family == "internlm2" else own


def _renamed(name: str, table: Sequence[tuple[str, str]]) -> str:
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return name
