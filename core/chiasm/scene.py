"""Images become tokens and scenes: tiles are cut and seen, the maps of the whole view stay with the image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from chiasm_registry import Scene
from torch import Tensor

from .backbone.protocol import Backbone
from .images import OpenedImage, tile_grid, tile_pixels, view_pixels
from .routing.network import Network, dtype_of

TILES_AT_ONCE = 16  # a bound on memory; one image may have more


@dataclass(frozen=True, eq=False)
class Look:
    """One image as the model saw it."""

    image: OpenedImage
    scene: Scene
    tokens: Tensor  # (tiles * N, D)


def look_at(network: Network, images: Sequence[OpenedImage]) -> list[Look]:
    """See each image; the maps of its scene are those of its last tile, which shows the whole of it."""
    looks: list[Look] = []
    for group in _groups(images, network.backbone):
        looks += _look_at_once(network, group)
    return looks


def _groups(images: Sequence[OpenedImage], backbone: Backbone) -> Iterator[list[OpenedImage]]:
    """Images whose tiles are seen together."""
    group: list[OpenedImage] = []
    tiles = 0
    for image in images:
        count = tile_grid(*image.rgb.size, **_cut(backbone)).count
        if group and tiles + count > TILES_AT_ONCE:
            yield group
            group, tiles = [], 0
        group.append(image)
        tiles += count
    if group:
        yield group


def _cut(backbone: Backbone) -> dict[str, Any]:
    """How the backbone wants its images cut; a design that says less takes what is usual."""
    low, thumbnail = getattr(backbone, "min_tiles", 1), getattr(backbone, "thumbnail", True)
    return {"min_tiles": low, "max_tiles": backbone.max_tiles, "tile": backbone.tile, "thumbnail": thumbnail}


def _look_at_once(network: Network, images: Sequence[OpenedImage]) -> list[Look]:
    backbone = network.backbone
    device, dtype = next(network.parameters()).device, dtype_of(network)
    cut = [tile_pixels(image.rgb, **_cut(backbone)) for image in images]
    counts = [len(tiles) for tiles in cut]
    seen = backbone.see(torch.cat(cut).to(device, dtype))
    last = [sum(counts[: k + 1]) - 1 for k in range(len(counts))]
    return [
        Look(image, _scene(image, tuple(m[k] for m in seen.maps), device, dtype), own.flatten(0, 1))
        for image, own, k in zip(images, torch.split(seen.tokens, counts), last, strict=True)
    ]


def no_scene(network: Network) -> Scene:
    """What a decoder gets when no image was given; only tasks with `needs_image=False` can do with it."""
    device = next(network.parameters()).device
    return Scene(size_hw=(1, 1), maps=(), view=lambda size: torch.zeros(3, size, size, device=device))


def _scene(image: OpenedImage, maps: tuple[Tensor, ...], device: torch.device, dtype: torch.dtype) -> Scene:
    return Scene(size_hw=image.size_hw, maps=maps, view=lambda size: view_pixels(image.rgb, size).to(device, dtype))
