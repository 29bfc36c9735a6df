"""Cuts an upright RGB image into square tiles by InternVL's dynamic rule (Chen et al. 2024, arXiv:2404.16821).

The grid is the one whose shape is nearest to the image's; the image is stretched onto it with PIL's bicubic filter and
cut row by row; a thumbnail of the whole follows when there is more than one tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from chiasm_registry.errors import InputError, shown
from PIL import Image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_MOST_TILES = 256


@dataclass(frozen=True)
class TileGrid:
    """How an image is cut."""

    columns: int
    rows: int
    resized: tuple[int, int]  # width, height that the image is stretched to
    boxes: tuple[tuple[int, int, int, int], ...]  # left, top, right, bottom in the stretched image, row by row
    has_thumbnail: bool

    @property
    def count(self) -> int:
        """Tiles with the thumbnail."""
        return len(self.boxes) + self.has_thumbnail


def tile_grid(
    width: int, height: int, *, min_tiles: int = 1, max_tiles: int = 12, tile: int = 448, thumbnail: bool = True
) -> TileGrid:
    """The grid for an image of `width` x `height` pixels; raises `InputError` for numbers that allow no grid."""
    for what, value in (("width", width), ("height", height), ("tile", tile)):
        if type(value) is not int or value < 1:
            raise InputError(f"{what} must be a whole number from 1 on, not {shown(value, 40)}")
    columns, rows = _nearest(width, height, _grids(min_tiles, max_tiles), tile)
    boxes = tuple(
        (column * tile, row * tile, (column + 1) * tile, (row + 1) * tile)
        for row in range(rows)
        for column in range(columns)
    )
    return TileGrid(columns, rows, (columns * tile, rows * tile), boxes, thumbnail and len(boxes) > 1)


def tile_pixels(
    image: Image.Image,
    *,
    min_tiles: int = 1,
    max_tiles: int = 12,
    tile: int = 448,
    thumbnail: bool = True,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> Tensor:
    """(tiles, 3, tile, tile) float32, normalised; the thumbnail last."""
    import numpy as np
    import torch

    image = image if image.mode == "RGB" else image.convert("RGB")
    grid = tile_grid(*image.size, min_tiles=min_tiles, max_tiles=max_tiles, tile=tile, thumbnail=thumbnail)
    stretched = _stretched(image, grid.resized)
    views = [stretched.crop(box) for box in grid.boxes]
    if grid.has_thumbnail:
        views.append(_stretched(image, (tile, tile)))
    pixels = np.stack([_channels_first(view) for view in views])
    pixels -= np.asarray(mean, np.float32)[:, None, None]
    pixels /= np.asarray(std, np.float32)[:, None, None]
    return torch.from_numpy(pixels)


def view_pixels(image: Image.Image, size: int) -> Tensor:
    """(3, size, size) float32, RGB in 0..1: the whole image stretched to a square."""
    import torch

    image = image if image.mode == "RGB" else image.convert("RGB")
    return torch.from_numpy(_channels_first(_stretched(image, (size, size))))


def _stretched(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize(size, Image.Resampling.BICUBIC)


def _channels_first(image: Image.Image) -> NDArray[np.float32]:
    """(3, H, W) in 0..1."""
    import numpy as np

    pixels = np.asarray(image).transpose(2, 0, 1).astype(np.float32, order="C")
    pixels /= np.float32(255)
    return pixels


@lru_cache(maxsize=64)
def _grids(min_tiles: int, max_tiles: int) -> tuple[tuple[int, int], ...]:
    """Every (columns, rows) with a permitted number of tiles, small ones first."""
    if not (type(min_tiles) is type(max_tiles) is int and 1 <= min_tiles <= max_tiles <= _MOST_TILES):
        raise InputError(
            f"{shown(min_tiles, 20)} to {shown(max_tiles, 20)} tiles is not a range within 1 to {_MOST_TILES}"
        )
    sides = range(1, max_tiles + 1)
    grids = ((c, r) for c in sides for r in sides if min_tiles <= c * r <= max_tiles)
    return tuple(sorted(grids, key=lambda grid: (grid[0] * grid[1], grid)))


def _nearest(width: int, height: int, grids: tuple[tuple[int, int], ...], tile: int) -> tuple[int, int]:
    """Of equally near grids the largest that the image fills by more than half."""
    best, best_distance = (1, 1), float("inf")
    for columns, rows in grids:
        distance = abs(width / height - columns / rows)
        fills = width * height > 0.5 * tile * tile * columns * rows
        if distance < best_distance or (distance == best_distance and fills):
            best, best_distance = (columns, rows), distance
    return best
