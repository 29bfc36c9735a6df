"""Rotary positions of the official language models, as transformers' `rope_parameters`.

InternLM2 and Llama: none, linear, dynamic NTK. Phi-3: "su" (also called longrope) and its sibling "yarn", which differ
in how much they magnify.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from chiasm_registry.errors import CheckpointError, shown

from .allowed import THETA, checked
from .ranges import Real, Rule, Text, Whole

_SCALED = ("linear", "dynamic")
_LONG = ("su", "longrope", "yarn")
_RULES: Mapping[str, Rule] = {
    "type": Text(),
    "rope_type": Text(),
    "factor": Real(1, 1e4),
    "original_max_position_embeddings": Whole(1, 2**24),
    "partial_rotary_factor": Real(1, 1),
}


def rope_of(text: Mapping[str, Any], family: str, head: int, where: str) -> dict[str, Any]:
    """transformers' `rope_parameters` for a checked `llm_config` with heads of `head` numbers."""
    scaling, theta = _said(text, where)
    if not scaling:
        return {"rope_type": "default", "rope_theta": theta}
    kind = scaling.get("rope_type", scaling.get("type"))
    if family == "phi3" and kind in _LONG:
        return _long(text, scaling, theta, head, f"{where}: rope_scaling")
    if kind not in _SCALED or family == "phi3":
        known = _LONG if family == "phi3" else _SCALED
        raise CheckpointError(f"{where}: rope_scaling is of type {shown(repr(kind), 40)}; known: {', '.join(known)}")
    factor = checked(scaling, _RULES, f"{where}: rope_scaling").get("factor")
    if factor is None:
        raise CheckpointError(f"{where}: rope_scaling has no factor")
    return {"rope_type": kind, "rope_theta": theta, "factor": float(factor)}


def _said(text: Mapping[str, Any], where: str) -> tuple[Mapping[str, Any] | None, float]:
    """The scaling, if there is one, and the base: two keys of old, one in newer files."""
    newer = dict(text.get("rope_parameters") or {})
    theta = newer.pop("rope_theta", text.get("rope_theta", 10000.0))
    if not THETA.fits(theta):
        raise CheckpointError(f"{where}: rope_theta is {shown(repr(theta), 40)}; it must be {THETA}")
    if newer.get("rope_type") == "default":
        checked(newer, _RULES, f"{where}: rope_parameters")
        newer = {}
    return text.get("rope_scaling") or newer, float(theta)


def _long(
    text: Mapping[str, Any], scaling: Mapping[str, Any], theta: float, head: int, where: str
) -> dict[str, Any]:
    factors = {key: scaling.get(key) for key in ("short_factor", "long_factor")}
    for key, value in factors.items():
        if not isinstance(value, list) or len(value) != head // 2 or not all(Real(1e-3, 1e6).fits(v) for v in value):
            raise CheckpointError(f"{where}: {key} must be a list of {head // 2} numbers")
    checked({key: value for key, value in scaling.items() if key not in factors}, _RULES, where)
    original = text.get("original_max_position_embeddings", 4096)
    made = {"rope_type": "longrope", "rope_theta": theta, "original_max_position_embeddings": original, **factors}
    scale = text.get("max_position_embeddings", 4096) / original
    if scale <= 1:
        magnitude = 1.0
    elif scaling.get("rope_type", scaling.get("type")) == "yarn":
        magnitude = 0.1 * math.log(scale) + 1.0
    else:
        magnitude = math.sqrt(1 + math.log(scale) / math.log(original))
    return {**made, "factor": max(scale, 1.0), "attention_factor": magnitude}  # the factor is only there to be said
