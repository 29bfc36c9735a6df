"""Into how many tiles an image is cut for a model, and how large they are: what its `config.json` says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chiasm_registry import CheckpointError
from chiasm_registry.errors import shown

MOST_TILES = 256


@dataclass(frozen=True)
class Tiling:
    """`tile` is the side in pixels, None for the vision model's own; the thumbnail comes beside `max_tiles`."""

    tile: int | None = None
    min_tiles: int = 1
    max_tiles: int = 12
    thumbnail: bool = True


def tiling_of(config: Mapping[str, Any]) -> Tiling:
    """The keys `tile`, `min_tiles`, `max_tiles`, `thumbnail` of a `config.json`, checked."""
    tile = config.get("tile")
    if tile is not None and (type(tile) is not int or not 1 <= tile <= 2**14):
        raise CheckpointError(f"config.json: tile is {shown(repr(tile), 40)}; it must be 1 to {2**14}")
    low, high = _count(config, "min_tiles", 1), _count(config, "max_tiles", 12)
    if low > high:
        raise CheckpointError(f"config.json: min_tiles {low} is over max_tiles {high}")
    thumbnail = config.get("thumbnail", True)
    if type(thumbnail) is not bool:
        raise CheckpointError(f"config.json: thumbnail is {shown(repr(thumbnail), 40)}; it must be true or false")
    return Tiling(tile, low, high, thumbnail)


def _count(config: Mapping[str, Any], key: str, default: int) -> int:
    value = config.get(key, default)
    if type(value) is not int or not 1 <= value <= MOST_TILES:
        raise CheckpointError(f"config.json: {key} is {shown(repr(value), 40)}; it must be 1 to {MOST_TILES}")
    return value
