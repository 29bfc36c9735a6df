"""LLaVA (Liu et al. 2023) as a `Backbone`: a CLIP tower, a connector of one or two layers, a language model.

The image is seen whole, in one square view.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chiasm_registry import CheckpointError
from chiasm_registry.errors import shown
from torch import nn
from transformers import LlavaConfig, LlavaForConditionalGeneration

from .clip import SeenByClip, clip_channels
from .describing import described

CONNECTORS = ("mlp", "linear")


class Llava(SeenByClip):
    """transformers' LLaVA; with `connector` "linear" the one matrix of the first LLaVA in place of two layers."""

    def __init__(self, config: LlavaConfig, connector: str = "mlp") -> None:
        super().__init__(config, LlavaForConditionalGeneration)
        if connector == "linear":
            self.llava.model.multi_modal_projector = nn.Linear(clip_channels(config), self.info.width)


def build_llava(config: Mapping[str, Any]) -> Llava:
    """A freshly initialised backbone; keys: `llava` (transformers' configuration) and `connector` ("mlp", "linear")."""
    connector = config.get("connector", CONNECTORS[0])
    if connector not in CONNECTORS:
        raise CheckpointError(f"config.json: connector is {shown(repr(connector), 40)}; known: {', '.join(CONNECTORS)}")
    return described(config, "llava", LlavaConfig, lambda own: Llava(own, connector))
