"""Images become tokens and scenes: tiles are cut and seen, the maps of the whole view stay with the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from chiasm_registry import Scene
from torch import Tensor

from .backbone.eye import Cut
from .images import OpenedImage, view_pixels
from .routing.network import Network, dtype_of

TILES_AT_ONCE = 16  # a bound on memory; one image may have more


@dataclass(frozen=True, eq=False)
class Look:
    """One image as the model saw it."""

    image: OpenedImage
    scene: Scene
    tokens: Tensor  # (M, D)
    places: Tensor | None = None  # (A, M) positions of the tokens from where the image begins on; None: one by one


def look_at(network: Network, images: Sequence[OpenedImage]) -> list[Look]:
    """See each image; the maps of its scene show the whole of it."""
    looks: list[Look] = []
    group: list[tuple[OpenedImage, Cut]] = []
    for image in images:
        cut = network.backbone.cut(image.rgb)
        if group and sum(one.views for _, one in group) + cut.views > TILES_AT_ONCE:
            looks += _look_at_once(network, group)
            group = []
        group.append((image, cut))
    return looks + _look_at_once(network, group) if group else looks


def _look_at_once(network: Network, group: Sequence[tuple[OpenedImage, Cut]]) -> list[Look]:
    device, dtype = next(network.parameters()).device, dtype_of(network)
    seen = network.backbone.look([cut._replace(pixels=cut.pixels.to(device, dtype)) for _, cut in group])
    return [
        Look(image, _scene(image, sight.maps, device, dtype), sight.tokens, sight.places)
        for (image, _), sight in zip(group, seen, strict=True)
    ]


def no_scene(network: Network) -> Scene:
    """What a decoder gets when no image was given; only tasks with `needs_image=False` can do with it."""
    device = next(network.parameters()).device
    return Scene(size_hw=(1, 1), maps=(), view=lambda size: torch.zeros(3, size, size, device=device))


def _scene(image: OpenedImage, maps: tuple[Tensor, ...], device: torch.device, dtype: torch.dtype) -> Scene:
    return Scene(size_hw=image.size_hw, maps=maps, view=lambda size: view_pixels(image.rgb, size).to(device, dtype))
