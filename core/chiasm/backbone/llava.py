"""LLaVA (Liu et al. 2023) as a `Backbone`: a CLIP tower, a connector of one or two layers, a language model.

The image is seen whole, in one square view.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chiasm_registry import CheckpointError
from chiasm_registry.errors import shown
from torch import Tensor, nn
from transformers import LlavaConfig, LlavaForConditionalGeneration

from .clip import clip_channels, clip_info, clip_tokens, seen_by_clip
from .describing import described
from .eye import Tiled
from .language import Language, Mouth, steady_length
from .protocol import Seen

CONNECTORS = ("mlp", "linear")


class Llava(Tiled, Language, nn.Module):
    """transformers' LLaVA; with `connector` "linear" the one matrix of the first LLaVA in place of two layers."""

    def __init__(self, config: LlavaConfig, connector: str = "mlp") -> None:
        super().__init__()
        self.info = clip_info(config)
        self.llava = LlavaForConditionalGeneration(config)
        self.llava.tie_weights()
        if connector == "linear":
            self.llava.model.multi_modal_projector = nn.Linear(clip_channels(config), self.info.width)
        self.tile, self.max_tiles, self.tokens_per_tile = config.vision_config.image_size, 1, clip_tokens(config)
        self.vocabulary = config.text_config.vocab_size
        self.positions = config.text_config.max_position_embeddings
        self.steady = steady_length(config.text_config)

    def see(self, tiles: Tensor) -> Seen:
        """Views (T, 3, S, S) to tokens (T, N, D) and their grid."""
        return seen_by_clip(self.llava, tiles)

    def mouth(self) -> Mouth:
        """The language model, its head, its input embedding."""
        return Mouth(self.llava.model.language_model, self.llava.lm_head, self.llava.get_input_embeddings())

    def trunk_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that the scene's maps depend on."""
        yield from self.llava.model.vision_tower.parameters()


def build_llava(config: Mapping[str, Any]) -> Llava:
    """A freshly initialised backbone; keys: `llava` (transformers' configuration) and `connector` ("mlp", "linear")."""
    connector = config.get("connector", CONNECTORS[0])
    if connector not in CONNECTORS:
        raise CheckpointError(f"config.json: connector is {shown(repr(connector), 40)}; known: {', '.join(CONNECTORS)}")
    return described(config, "llava", LlavaConfig, lambda own: Llava(own, connector))
