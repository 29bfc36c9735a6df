"""From an image to what a design's eye takes, and back what it saw of it: the part of a backbone that knows pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ..images import tile_pixels
from ..images.tiles import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from PIL import Image

    from .protocol import Seen

# of CLIP (Radford et al. 2021), with which the towers of the LLaVA, BLIP-2 and Qwen2-VL families were trained
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


class Cut(NamedTuple):
    """One image as a design's eye takes it."""

    pixels: Tensor  # a design's own shape; (T, 3, S, S) where it looks at tiles
    size_hw: tuple[int, int]  # of the image
    grid: tuple[int, int]  # rows and columns that the image was cut into
    views: int  # what seeing it costs, counted in tiles


class Sight(NamedTuple):
    """One image as a design's eye saw it."""

    tokens: Tensor  # (M, D), ready to stand among word embeddings
    maps: tuple[Tensor, ...]  # (C, h, w) each, fine to coarse, of the whole view
    places: Tensor | None = None  # (A, M) positions from where the image begins on; None: one after the other


class Tiled:
    """For a design that sees square tiles, each for itself: the last one shows the whole image."""

    tile: int
    max_tiles: int
    min_tiles: int = 1
    thumbnail: bool = True

    def see(self, tiles: Tensor) -> Seen:
        """Tiles (T, 3, S, S), ImageNet-normalised RGB, to image tokens and feature maps."""
        raise NotImplementedError

    def cut(self, image: Image.Image) -> Cut:
        """Tiles by InternVL's rule, with a thumbnail behind more than one."""
        pixels = tile_pixels(
            image, min_tiles=self.min_tiles, max_tiles=self.max_tiles, tile=self.tile, thumbnail=self.thumbnail
        )
        return Cut(pixels, (image.height, image.width), (1, len(pixels)), len(pixels))

    def look(self, cuts: Sequence[Cut]) -> list[Sight]:
        """All tiles of all images at once."""
        counts = [len(cut.pixels) for cut in cuts]
        seen = self.see(torch.cat([cut.pixels for cut in cuts]))
        last = [sum(counts[: k + 1]) - 1 for k in range(len(counts))]
        tokens = torch.split(seen.tokens, counts)
        return [
            Sight(own.flatten(0, 1), tuple(grid[k] for grid in seen.maps)) for own, k in zip(tokens, last, strict=True)
        ]


def normalised(image: Image.Image) -> Tensor:
    """(3, h, w) float32, RGB, ImageNet-normalised."""
    import numpy as np

    pixels = torch.from_numpy(np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1) / np.float32(255))
    mean, std = _channels(IMAGENET_MEAN, IMAGENET_STD, pixels)
    return (pixels - mean) / std


def as_clip(pixels: Tensor) -> Tensor:
    """ImageNet-normalised (..., 3, h, w) as CLIP's towers want it."""
    ours, theirs = (_channels(m, s, pixels) for m, s in ((IMAGENET_MEAN, IMAGENET_STD), (CLIP_MEAN, CLIP_STD)))
    return (pixels * ours[1] + ours[0] - theirs[0]) / theirs[1]


def _channels(mean: Sequence[float], std: Sequence[float], like: Tensor) -> tuple[Tensor, Tensor]:
    return like.new_tensor(mean)[:, None, None], like.new_tensor(std)[:, None, None]
