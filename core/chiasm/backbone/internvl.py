"""InternVL as a `Backbone`, on transformers' own classes; a convolutional trunk may stand for the patch embedding.

A configuration that describes no such model, or one whose image grid cannot be shuffled, is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from chiasm_registry import CheckpointError, CoreInfo, MapInfo
from chiasm_registry.errors import shown
from torch import Tensor, nn
from transformers import InternVLConfig

from .build import UNBUILDABLE, internvl_config
from .describing import check_layers
from .eye import Tiled
from .language import longest_text, steady_length
from .official.network import OfficialInternVL
from .protocol import Seen
from .tiling import Tiling, tiling_of
from .trunk import TrunkPatches

ENDLESS = 2**18  # positions of a model whose rotary scale follows the length of the text


class InternVL(Tiled, nn.Module):
    """transformers' InternVL with the four functions core needs.

    With `trunk=True` the patch embedding is `TrunkPatches`, whose maps (strides 4 to 64) are the scene's maps; without
    it the scene has one map: the InternViT grid of the layer that the language model is shown.
    """

    def __init__(self, config: InternVLConfig, *, trunk: bool = False, tiling: Tiling | None = None) -> None:
        super().__init__()
        tiling = tiling or Tiling()
        self.tile, self.patch = _checked_grid(config, trunk, tiling.tile)  # before anything gets memory
        check_layers([config.vision_feature_layer], config.vision_config)
        self.internvl = OfficialInternVL(config)
        self.internvl.tie_weights()  # a construction without initial values leaves that out
        vision = config.vision_config
        self.trunk = trunk
        if trunk:
            self.internvl.model.vision_tower.embeddings.patch_embeddings = TrunkPatches(
                vision.hidden_size, config.text_config.hidden_size
            )
        self.min_tiles, self.max_tiles, self.thumbnail = tiling.min_tiles, tiling.max_tiles, tiling.thumbnail
        self.tokens_per_tile = int((self.tile // self.patch * config.downsample_ratio) ** 2)
        self.vocabulary = config.text_config.vocab_size
        dynamic = (config.text_config.rope_parameters or {}).get("rope_type") == "dynamic"
        self.positions = ENDLESS if dynamic else longest_text(config.text_config)
        self.steady = steady_length(config.text_config)
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
        model = self.internvl.model
        if not self.trunk:
            grid = self._grid(self._layer(tiles))
            return Seen(self._projected(grid), (grid.permute(0, 3, 1, 2),))
        patches = model.vision_tower.embeddings.patch_embeddings
        maps: tuple[Tensor, ...] = patches.trunk(tiles)
        features = patches.features(maps)
        tokens = self._projected(self._grid(self._transformed(patches.patches(features))))
        return Seen(tokens + patches.tags(features, math.isqrt(self.tokens_per_tile)), maps)

    def _layer(self, tiles: Tensor) -> Tensor:
        """The states of the layer that is shown to the language model, (T, 1 + h * w, C)."""
        layer = self.internvl.config.vision_feature_layer
        seen = self.internvl.model.vision_tower(pixel_values=tiles, output_hidden_states=layer != -1)
        hidden: Tensor = seen.last_hidden_state if layer == -1 else seen.hidden_states[layer]
        return hidden

    def _grid(self, hidden: Tensor) -> Tensor:
        """The vision tower's output without its class token, (T, h, w, C)."""
        side = self.tile // self.patch
        return hidden[:, 1:].reshape(len(hidden), side, side, -1)

    def _projected(self, grid: Tensor) -> Tensor:
        """The grid, shuffled and projected, as image tokens (T, N, D)."""
        model = self.internvl.model
        shuffled = model.pixel_shuffle(grid, scale_factor=self.internvl.config.downsample_ratio).flatten(1, 2)
        tokens: Tensor = model.multi_modal_projector(shuffled)
        return tokens

    def _transformed(self, patches: Tensor) -> Tensor:
        """Patches (T, h * w, C) through the vision transformer, (T, 1 + h * w, C) with the class token first."""
        vision = self.internvl.model.vision_tower
        patches = torch.cat([vision.embeddings.cls_token.expand(len(patches), -1, -1), patches], 1)
        if vision.embeddings.position_embeddings is not None:
            patches = patches + vision.embeddings.position_embeddings
        hidden: Tensor = vision.layernorm(vision.encoder(patches).last_hidden_state)
        return hidden

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

    def matrices(self) -> tuple[Tensor, Tensor]:
        """The input embedding and the head, (V, D) each."""
        return self.internvl.get_input_embeddings().weight.detach(), self.internvl.lm_head.weight.detach()


def build_internvl(config: Mapping[str, Any]) -> InternVL:
    """A freshly initialised backbone from a checkpoint's `config.json`.

    Its keys: `internvl` (transformers' own configuration), `trunk` (bool), and those of `Tiling`.
    """
    trunk = config.get("trunk", False)
    if type(trunk) is not bool:
        raise CheckpointError(f"config.json: trunk is {shown(repr(trunk), 40)}; it must be true or false")
    tiling, internvl = tiling_of(config), internvl_config(config)
    try:
        return InternVL(internvl, trunk=trunk, tiling=tiling)
    except CheckpointError:
        raise
    except Exception as error:  # the libraries raise many kinds, and quote the whole configuration
        raise CheckpointError(UNBUILDABLE) from error


def _checked_grid(config: InternVLConfig, trunk: bool, tile: int | None) -> tuple[int, int]:
    """Side of a tile and of a patch in pixels; refused unless patches fill the tile and can be shuffled."""
    (height, width), (patch, patch_width) = config.vision_config.image_size, config.vision_config.patch_size
    tile = height if tile is None else tile
    side = tile // patch * config.downsample_ratio
    if height != width or patch != patch_width or side < 1 or side != int(side):
        raise CheckpointError(
            "config.json: image_size and patch_size must give a square grid that downsample_ratio divides"
        )
    if trunk and (patch != TrunkPatches.grid_stride or tile != height):
        raise CheckpointError(f"config.json: with a trunk patch_size must be {TrunkPatches.grid_stride}, not {patch}")
    return tile, patch
