"""The eye that LLaVA and LLaVA-NeXT share: a hidden layer of a CLIP tower, and the connector behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from chiasm_registry import CheckpointError, CoreInfo, MapInfo
from torch import Tensor, nn

from .describing import check_layers
from .eye import Tiled, as_clip
from .language import Language, Mouth, longest_text, steady_length
from .protocol import Seen


class SeenByClip(Tiled, Language, nn.Module):
    """A network of transformers' LLaVA kinds with what core needs; how an image is cut is the design's own."""

    def __init__(self, config: Any, network: Callable[[Any], Any]) -> None:
        super().__init__()
        self.info = clip_info(config)
        self.llava = network(config)
        self.llava.tie_weights()
        self.tile, self.max_tiles, self.tokens_per_tile = config.vision_config.image_size, 1, clip_tokens(config)
        self.vocabulary = config.text_config.vocab_size
        self.positions = longest_text(config.text_config)
        self.steady = steady_length(config.text_config)

    def see(self, tiles: Tensor) -> Seen:
        """Views (T, 3, S, S) to tokens (T, N, D) and their grid, without rows' ends."""
        return seen_by_clip(self.llava, tiles)

    def mouth(self) -> Mouth:
        """The language model, its head, its input embedding."""
        return Mouth(self.llava.model.language_model, self.llava.lm_head, self.llava.get_input_embeddings())

    def trunk_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that the scene's maps depend on."""
        yield from self.llava.model.vision_tower.parameters()


def seen_by_clip(network: Any, tiles: Tensor) -> Seen:
    """ImageNet-normalised tiles (T, 3, S, S) to tokens (T, N, D) and the one grid (T, C, h, w) they come from."""
    config, model = network.config, network.model
    layers = config.vision_feature_layer
    hidden = model.vision_tower(as_clip(tiles), output_hidden_states=True).hidden_states
    states = torch.cat([hidden[k] for k in ([layers] if isinstance(layers, int) else layers)], -1)  # (T, 1 + hw, C)
    shown = states[:, 1:] if config.vision_feature_select_strategy == "default" else states
    tokens: Tensor = model.multi_modal_projector(shown)
    side = math.isqrt(states.shape[1])
    grid = states[:, states.shape[1] - side**2 :].transpose(1, 2)
    return Seen(tokens, (grid.reshape(*grid.shape[:2], side, side),))


def clip_tokens(config: Any) -> int:
    """Image tokens of one view."""
    vision = config.vision_config
    class_token = config.vision_feature_select_strategy != "default"
    return int((vision.image_size // vision.patch_size) ** 2 + class_token)


def clip_channels(config: Any) -> int:
    """Channels of what the connector takes."""
    layers = config.vision_feature_layer
    return int(config.vision_config.hidden_size * (1 if isinstance(layers, int) else len(layers)))


def clip_info(config: Any) -> CoreInfo:
    """What a decoder is built from; a tower without square patches that fill its view, or the layers, is refused."""
    vision, layers = config.vision_config, config.vision_feature_layer
    check_layers(layers if isinstance(layers, list) else [layers], vision)
    if vision.image_size % vision.patch_size:
        raise CheckpointError("config.json: patches of vision_config must fill its image_size")
    maps = (MapInfo(clip_channels(config), vision.patch_size),)
    return CoreInfo(width=config.text_config.hidden_size, maps=maps, dtype=torch.float32)
