"""Images in, upright RGB and tiles out. Importing this loads neither torch nor numpy."""

from __future__ import annotations

from .open import ImageSource, OpenedImage, open_image
from .tiles import IMAGENET_MEAN, IMAGENET_STD, TileGrid, tile_grid, tile_pixels, view_pixels

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "ImageSource",
    "OpenedImage",
    "TileGrid",
    "open_image",
    "tile_grid",
    "tile_pixels",
    "view_pixels",
]
