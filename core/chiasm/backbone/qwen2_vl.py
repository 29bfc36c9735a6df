"""Qwen2-VL (Wang et al. 2024) as a `Backbone`: the image in its own shape, and positions with three axes.

Four patches become one token; an image's tokens stand at (time, row, column), and the text goes on behind the larger of
its sides. Scenes want square maps, so the tower's grid is resampled to one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from chiasm_registry import CheckpointError, CoreInfo, MapInfo
from chiasm_registry.errors import shown
from PIL import Image
from torch import Tensor, nn
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from .describing import described
from .eye import Cut, Sight, as_clip, normalised
from .language import Language, Mouth, longest_text, steady_length
from .protocol import Seen

MAP_SIDE = 32  # of the square map of a scene
PIXELS = (56 * 56, 28 * 28 * 1280)  # of a resized image, least and most, as its processor has it
PATCHES_OF_A_VIEW = 1024
_SECTIONS = [16, 24, 24]  # frequencies of time, row and column, where a configuration says nothing


class Qwen2VL(Language, nn.Module):
    """transformers' Qwen2-VL for single images."""

    max_tiles = 1

    def __init__(self, config: Qwen2VLConfig, pixels: tuple[int, int] = PIXELS, map_side: int = MAP_SIDE) -> None:
        super().__init__()
        vision, text = config.vision_config, config.text_config
        _check_sections(text)
        self.qwen = Qwen2VLForConditionalGeneration(config)
        self.qwen.tie_weights()
        self.patch, self.merge = vision.patch_size, vision.spatial_merge_size
        self.frames = vision.temporal_patch_size  # one patch sees this many equal frames of a still image
        self.pixels, self.map_side = pixels, map_side
        self.tile = map_side * self.patch
        self.tokens_per_tile = (map_side // self.merge) ** 2
        self.vocabulary, self.positions = text.vocab_size, longest_text(text)
        self.steady = steady_length(text)
        maps = (MapInfo(vision.embed_dim, self.patch),)
        self.info = CoreInfo(width=text.hidden_size, maps=maps, dtype=torch.float32)

    def cut(self, image: Image.Image) -> Cut:
        """Patches of the image at the size nearest to its own that they fill."""
        factor, (least, most) = self.patch * self.merge, self.pixels
        height, width = smart_resize(image.height, image.width, factor, least, most)
        pixels = normalised(image.resize((width, height), Image.Resampling.BICUBIC))
        grid = (height // self.patch, width // self.patch)
        views = -(-grid[0] * grid[1] // PATCHES_OF_A_VIEW)
        return Cut(self._patches(pixels[None])[0], (image.height, image.width), grid, views)

    def look(self, cuts: Sequence[Cut]) -> list[Sight]:
        """All images at once, each attending to itself."""
        tokens, states = self._seen(torch.cat([cut.pixels for cut in cuts]), [cut.grid for cut in cuts])
        return [
            Sight(own, (self._square(state, cut.grid),), self._places(cut.grid))
            for own, state, cut in zip(tokens, states, cuts, strict=True)
        ]

    def see(self, tiles: Tensor) -> Seen:
        """Square views (T, 3, S, S) to tokens (T, N, D) and their grid."""
        grids = [(tiles.shape[2] // self.patch, tiles.shape[3] // self.patch)] * len(tiles)
        tokens, states = self._seen(self._patches(tiles).flatten(0, 1), grids)
        return Seen(torch.stack(tokens), (torch.stack([self._grid(s, g) for s, g in zip(states, grids, strict=True)]),))

    def mouth(self) -> Mouth:
        """The language model, its head, its input embedding."""
        return Mouth(self.qwen.model.language_model, self.qwen.lm_head, self.qwen.get_input_embeddings())

    def trunk_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that the scene's maps depend on."""
        yield from self.qwen.model.visual.parameters()

    def _patches(self, pixels: Tensor) -> Tensor:
        """(T, 3, H, W) ImageNet-normalised to (T, h * w, 3 * frames * patch**2), the four of a token side by side."""
        p, m, (height, width) = self.patch, self.merge, pixels.shape[2:]
        blocks = as_clip(pixels).reshape(len(pixels), 3, height // (m * p), m, p, width // (m * p), m, p)
        ordered = blocks.permute(0, 2, 5, 3, 6, 1, 4, 7).flatten(1, 4)  # (T, h * w, 3, p, p)
        return ordered[:, :, :, None].expand(-1, -1, -1, self.frames, -1, -1).flatten(2)

    def _seen(self, patches: Tensor, grids: Sequence[tuple[int, int]]) -> tuple[list[Tensor], list[Tensor]]:
        """Tokens and, in the patches' order, the tower's states of each image."""
        shapes = torch.tensor([[1, *grid] for grid in grids], device=patches.device)
        seen = self.qwen.model.visual(patches, grid_thw=shapes)
        counts = [rows * columns for rows, columns in grids]
        tokens = torch.split(seen.pooler_output, [count // self.merge**2 for count in counts])
        return list(tokens), list(torch.split(seen.last_hidden_state, counts))

    def _grid(self, states: Tensor, grid: tuple[int, int]) -> Tensor:
        """(h * w, C) in the patches' order to (C, h, w)."""
        (rows, columns), m = grid, self.merge
        blocks = states.reshape(rows // m, columns // m, m, m, -1)
        return blocks.permute(4, 0, 2, 1, 3).reshape(-1, rows, columns)

    def _square(self, states: Tensor, grid: tuple[int, int]) -> Tensor:
        """The grid as a scene's map, (C, side, side)."""
        size = (self.map_side, self.map_side)
        whole = F.interpolate(self._grid(states, grid)[None].float(), size, mode="bilinear", antialias=True)
        return whole[0].to(states.dtype)

    def _places(self, grid: tuple[int, int]) -> Tensor:
        """(3, M): time, row and column of each token."""
        rows, columns = grid[0] // self.merge, grid[1] // self.merge
        row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        return torch.stack([torch.zeros_like(row), row, column]).flatten(1)


def _check_sections(text: Any) -> None:
    """Refuse rotary frequencies that are not shared out among the three axes."""
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    sections = text.rope_parameters.get("mrope_section", _SECTIONS)
    whole = isinstance(sections, list) and len(sections) == 3 and all(type(n) is int and n > 0 for n in sections)
    if not whole or sum(sections) != head // 2:
        raise CheckpointError(
            f"config.json: mrope_section is {shown(repr(sections), 40)}; it must be three whole numbers that sum to"
            f" {head // 2}, half of a head"
        )


def build_qwen2_vl(config: Mapping[str, Any]) -> Qwen2VL:
    """A freshly initialised backbone; keys: `qwen2_vl` (transformers' configuration), `pixels`, `map_side`."""
    pixels, side = config.get("pixels", PIXELS), config.get("map_side", MAP_SIDE)
    numbers = [*pixels, side] if isinstance(pixels, (list, tuple)) and len(pixels) == 2 else [0]
    if not all(type(n) is int and 1 <= n <= 2**28 for n in numbers) or numbers[0] > numbers[-2] or side > 512:
        raise CheckpointError("config.json: pixels must be two whole numbers, least and most; map_side 1 to 512")
    return described(config, "qwen2_vl", Qwen2VLConfig, lambda own: Qwen2VL(own, (pixels[0], pixels[1]), side))
