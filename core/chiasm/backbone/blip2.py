"""BLIP-2 (Li et al. 2023) as a `Backbone`: a few learned queries read a frozen tower and are spoken to.

MiniGPT-4 (Zhu et al. 2023) is the same network with a LLaMA, and only its one linear layer is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from chiasm_registry import CheckpointError, CoreInfo, MapInfo
from torch import Tensor, nn
from transformers import Blip2Config, Blip2ForConditionalGeneration

from .describing import described
from .eye import Tiled, as_clip
from .language import Language, Mouth, longest_text, steady_length
from .protocol import Seen


class Blip2(Tiled, Language, nn.Module):
    """transformers' BLIP-2 with a language model that only decodes."""

    def __init__(self, config: Blip2Config) -> None:
        super().__init__()
        vision = config.vision_config
        if not config.use_decoder_only_language_model or vision.image_size % vision.patch_size:
            raise CheckpointError(
                "config.json: BLIP-2 needs a text_config that only decodes, and patches that fill image_size"
            )
        self.blip2 = Blip2ForConditionalGeneration(config)
        self.blip2.tie_weights()
        self.blip2.language_model.tie_weights()
        self.tile, self.max_tiles, self.tokens_per_tile = vision.image_size, 1, config.num_query_tokens
        self.side = vision.image_size // vision.patch_size
        self.vocabulary, width = self.matrices()[0].shape
        self.positions = longest_text(config.text_config)
        self.steady = steady_length(config.text_config)
        maps = (MapInfo(vision.hidden_size, vision.patch_size),)
        self.info = CoreInfo(width=width, maps=maps, dtype=torch.float32)

    def see(self, tiles: Tensor) -> Seen:
        """Views (T, 3, S, S) to what the queries read (T, N, D), and the grid they read it from."""
        network = self.blip2
        states = network.vision_model(as_clip(tiles)).last_hidden_state  # (T, 1 + hw, C)
        queries = network.query_tokens.expand(len(tiles), -1, -1)
        read = network.qformer(query_embeds=queries, encoder_hidden_states=states).last_hidden_state
        tokens: Tensor = network.language_projection(read.to(states.dtype))
        return Seen(tokens, (states[:, 1:].transpose(1, 2).reshape(len(tiles), -1, self.side, self.side),))

    def mouth(self) -> Mouth:
        """The language model, its head, its input embedding."""
        speaker = self.blip2.language_model
        return Mouth(speaker.base_model, speaker.get_output_embeddings(), speaker.get_input_embeddings())

    def trunk_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that the scene's maps depend on."""
        yield from self.blip2.vision_model.parameters()


def build_blip2(config: Mapping[str, Any]) -> Blip2:
    """A freshly initialised backbone; key: `blip2` (transformers' configuration)."""
    return described(config, "blip2", Blip2Config, Blip2)
