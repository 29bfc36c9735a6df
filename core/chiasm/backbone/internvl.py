"""InternVL as a `Backbone`, on transformers' own classes: InternViT or a convolutional trunk, pixel shuffle, MLP, language model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from chiasm_registry import CheckpointError, CoreInfo, MapInfo
from torch import Tensor, nn
from transformers import InternVLConfig, InternVLForConditionalGeneration

from .protocol import Seen
from .trunk import TrunkPatches


class InternVL(nn.Module):
    """transformers' InternVL with the four functions core needs.

    With `trunk=True` the patch embedding is `TrunkPatches`, whose maps (strides 4 to 64) are the scene's maps; without
    it the scene has one map: the InternViT grid.
    """

    def __init__(self, config: InternVLConfig, *, trunk: bool = False, max_tiles: int = 12) -> None:
        super().__init__()
        self.internvl = InternVLForConditionalGeneration(config)
        self.internvl.tie_weights()  # a construction without initial values leaves that out
        vision = config.vision_config
        self.trunk = trunk
        if trunk:
            self.internvl.model.vision_tower.embeddings.patch_embeddings = TrunkPatches(vision.hidden_size)
        self.tile, self.patch = vision.image_size[0], vision.patch_size[0]
        self.max_tiles = max_tiles
        self.tokens_per_tile = int((self.tile // self.patch * config.downsample_ratio) ** 2)
        self.vocabulary = config.text_config.vocab_size
        self.info = CoreInfo(
            width=config.text_config.hidden_size, maps=self._map_infos(vision.hidden_size), dtype=torch.float32
        )

    def _map_infos(self, width: int) -> tuple[MapInfo, ...]:
        if not self.trunk:
            return (MapInfo(width, self.patch),)
        channels = self.internvl.model.vision_tower.embeddings.patch_embeddings.trunk.channels
        return tuple(MapInfo(c, 4 * 2**k) for k, c in enumerate(channels))

    def see(self, tiles: Tensor) -> Seen:
        """Tiles (T, 3, S, S) to tokens (T, N, D) and maps; the projector works on the grid without the class token."""
        model, vision = self.internvl.model, self.internvl.model.vision_tower
        maps: tuple[Tensor, ...] = ()
        if self.trunk:
            stem = vision.embeddings.patch_embeddings
            maps = stem.trunk(tiles)
            patches = stem.patches(maps)
            patches = torch.cat([vision.embeddings.cls_token.expand(len(patches), -1, -1), patches], 1)
            hidden = vision.encoder(patches + vision.embeddings.position_embeddings).last_hidden_state
        else:
            hidden = vision(pixel_values=tiles).last_hidden_state
        side = self.tile // self.patch
        grid = hidden[:, 1:].unflatten(1, (side, side))  # (T, h, w, C)
        shuffled = model.pixel_shuffle(grid, scale_factor=self.internvl.config.downsample_ratio).flatten(1, 2)
        return Seen(model.multi_modal_projector(shuffled), maps or (grid.permute(0, 3, 1, 2),))

    def trunk_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that the scene's maps depend on."""
        vision = self.internvl.model.vision_tower
        part: nn.Module = vision.embeddings.patch_embeddings.trunk if self.trunk else vision
        return part.parameters()

    def embed(self, ids: Tensor) -> Tensor:
        """(B, L) to (B, L, D)."""
        embedded: Tensor = self.internvl.get_input_embeddings()(ids)
        return embedded

    def speak(self, embeds: Tensor, mask: Tensor | None, positions: Tensor, cache: Any | None) -> Tensor:
        """(B, L, D) to (B, L, D) after the final norm; see `Backbone.speak`."""
        hidden: Tensor = self.internvl.model.language_model(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state
        return hidden

    def head(self, hidden: Tensor) -> Tensor:
        """(..., D) to (..., V)."""
        logits: Tensor = self.internvl.lm_head(hidden)
        return logits


def build_internvl(config: Mapping[str, Any]) -> InternVL:
    """A freshly initialised backbone from a checkpoint's `config.json`: `{"internvl": {...}, "trunk": bool, "max_tiles": int}`."""
    try:
        internvl = InternVLConfig(**config["internvl"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            "config.json does not describe an InternVL model; its key 'internvl' is missing or malformed"
        ) from error
    internvl._attn_implementation = "sdpa"
    return InternVL(internvl, trunk=bool(config.get("trunk", False)), max_tiles=int(config.get("max_tiles", 12)))
