"""LLaVA-NeXT (Liu et al. 2024) as a `Backbone`: a view of the whole, and tiles of any of a list of resolutions.

The image keeps its shape inside the resolution that wastes least of it, the margin is taken out of the tokens again,
and a learned token ends each row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from chiasm_registry import CheckpointError
from chiasm_registry.errors import shown
from PIL import Image
from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration
from transformers.image_processing_utils import select_best_resolution

from ..images import tile_pixels
from .clip import SeenByClip
from .describing import described
from .eye import Cut, Sight
from .tiling import MOST_TILES


class LlavaNext(SeenByClip):
    """transformers' LLaVA-NeXT with what core needs."""

    def __init__(self, config: LlavaNextConfig) -> None:
        super().__init__(config, LlavaNextForConditionalGeneration)
        self.resolutions = _checked_resolutions(config.image_grid_pinpoints, self.tile)
        self.max_tiles = max(height * width // self.tile**2 for height, width in self.resolutions)

    def cut(self, image: Image.Image) -> Cut:
        """The whole image stretched to a tile, then the tiles of its resolution, row by row."""
        size_hw = (image.height, image.width)
        height, width = select_best_resolution(size_hw, self.resolutions)
        framed = _framed(image, width, height)
        rows, columns = height // self.tile, width // self.tile
        views = [image, *(framed.crop(_box(k // columns, k % columns, self.tile)) for k in range(rows * columns))]
        pixels = torch.cat([tile_pixels(view, max_tiles=1, tile=self.tile) for view in views])
        return Cut(pixels, size_hw, (rows, columns), len(pixels))

    def look(self, cuts: Sequence[Cut]) -> list[Sight]:
        """Each image's tokens: of the whole, then of its tiles without margins, each row with its end."""
        counts = [len(cut.pixels) for cut in cuts]
        seen = self.see(torch.cat([cut.pixels for cut in cuts]))
        packed, _ = self.llava.model.pack_image_features(
            torch.split(seen.tokens, counts),
            [cut.size_hw for cut in cuts],
            self.llava.config.vision_feature_select_strategy,
            image_newline=self.llava.model.image_newline,
        )
        first = [sum(counts[:k]) for k in range(len(counts))]
        return [Sight(own, tuple(grid[k] for grid in seen.maps)) for own, k in zip(packed, first, strict=True)]


def build_llava_next(config: Mapping[str, Any]) -> LlavaNext:
    """A freshly initialised backbone; key: `llava_next` (transformers' configuration)."""
    return described(config, "llava_next", LlavaNextConfig, LlavaNext)


def _checked_resolutions(pinpoints: list[Any], tile: int) -> list[tuple[int, int]]:
    """(height, width) each, of whole tiles, and no more of them than any image may become."""
    for sides in pinpoints or [None]:
        pair = isinstance(sides, list) and len(sides) == 2
        whole = pair and all(type(side) is int and side >= tile and side % tile == 0 for side in sides)
        if not whole or math.prod(sides) > MOST_TILES * tile**2:
            raise CheckpointError(
                f"config.json: image_grid_pinpoints holds {shown(repr(sides), 40)}; each is a height and a width of"
                f" whole tiles of {tile} pixels, at most {MOST_TILES} tiles"
            )
    return [(height, width) for height, width in pinpoints]


def _framed(image: Image.Image, width: int, height: int) -> Image.Image:
    """The image as large as fits, in the middle of a black canvas."""
    scale_w, scale_h = width / image.width, height / image.height
    if scale_w < scale_h:
        size = (width, min(math.ceil(image.height * scale_w), height))
    else:
        size = (min(math.ceil(image.width * scale_h), width), height)
    canvas = Image.new("RGB", (width, height))
    canvas.paste(image.resize(size, Image.Resampling.BICUBIC), ((width - size[0]) // 2, (height - size[1]) // 2))
    return canvas


def _box(row: int, column: int, tile: int) -> tuple[int, int, int, int]:
    return column * tile, row * tile, (column + 1) * tile, (row + 1) * tile
