"""Images become tokens and scenes: tiles are cut, the backbone sees them, maps of the whole view stay with the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from chiasm_registry import Scene
from torch import Tensor

from .images import OpenedImage, tile_pixels, view_pixels
from .routing.network import Network, dtype_of

TILES_AT_ONCE = 16  # a bound on memory; tiles are seen independently of each other


@dataclass(frozen=True, eq=False)
class Look:
    """One image as the model saw it."""

    image: OpenedImage
    scene: Scene
    tokens: Tensor  # (tiles * N, D)


def look_at(network: Network, images: Sequence[OpenedImage]) -> list[Look]:
    """See each image; the maps of its scene are those of its last tile, which shows the whole of it."""
    if not images:
        return []
    backbone = network.backbone
    device, dtype = next(network.parameters()).device, dtype_of(network)
    cut = [tile_pixels(image.rgb, max_tiles=backbone.max_tiles, tile=backbone.tile) for image in images]
    counts = [len(tiles) for tiles in cut]
    parts = [backbone.see(part.to(device, dtype)) for part in torch.cat(cut).split(TILES_AT_ONCE)]
    tokens = torch.cat([part.tokens for part in parts]).split(counts)
    maps = [torch.cat(levels) for levels in zip(*(part.maps for part in parts), strict=True)]
    last = torch.tensor(counts).cumsum(0) - 1
    return [
        Look(image, _scene(image, tuple(m[int(k)] for m in maps), device, dtype), own.flatten(0, 1))
        for image, own, k in zip(images, tokens, last, strict=True)
    ]


def no_scene(network: Network) -> Scene:
    """What a decoder gets when no image was given; only tasks with `needs_image=False` can do with it."""
    device = next(network.parameters()).device
    return Scene(size_hw=(1, 1), maps=(), view=lambda size: torch.zeros(3, size, size, device=device))


def _scene(image: OpenedImage, maps: tuple[Tensor, ...], device: torch.device, dtype: torch.dtype) -> Scene:
    return Scene(size_hw=image.size_hw, maps=maps, view=lambda size: view_pixels(image.rgb, size).to(device, dtype))
