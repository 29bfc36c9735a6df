"""Geometry and colour of training views: sampled on the CPU as small matrices, applied to whole batches on the device.

Frames. A photograph is the stretched square of the store in unit coordinates (0..1 from edge to edge); a view is a
square of `size` pixels, also in unit coordinates. An `Affine` (a, b, c, d, e, f) maps the photograph to the view:
x' = a x + b y + c, y' = d x + e y + f. Objects come in pixels of their photograph and leave in pixels of the view.
Sampled matrices have b = d = 0, so a box stays a box.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.nn.functional as F
from chiasm_registry.contract import SampleObject

if TYPE_CHECKING:
    from torch import Tensor

AnyObject = TypeVar("AnyObject", bound=SampleObject)
Affine = tuple[float, float, float, float, float, float]
Window = tuple[float, float, float, float]  # xyxy in unit coordinates of the view
IDENTITY: Affine = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
WHOLE: Window = (0.0, 0.0, 1.0, 1.0)
FILL = (0.485, 0.456, 0.406)  # mean colour of photographs, what lies beside a zoomed-out one
MIDDLE = 0.45  # the grey that contrast turns around
SEEN_WELL = 0.25  # of a box's area; below it the object is ignored, neither positive nor negative
SEEN_AT_ALL = 0.05  # below it, or under SMALLEST_PX, the object is not in the view
SMALLEST_PX = 2.0
LEVELS = 4  # of the pyramid that large photographs are sampled from
SHARPNESS = 0.35  # levels by which sampling prefers the finer one


def sample_affine(rng: Random, *, scale: tuple[float, float], aspect: float, flip: float) -> Affine:
    """A random zoom (log-uniform in `scale`), aspect in [1/aspect, aspect], place, and flip with probability `flip`."""
    zoom = math.exp(rng.uniform(math.log(scale[0]), math.log(scale[1])))
    stretch = math.exp(0.5 * rng.uniform(-math.log(aspect), math.log(aspect)))
    width, height = zoom * stretch, zoom / stretch
    left, top = rng.random() * (1.0 - width), rng.random() * (1.0 - height)
    moved = (width, 0.0, left, 0.0, height, top)
    return flipped(moved) if rng.random() < flip else moved


def flipped(affine: Affine) -> Affine:
    """The same place in the view, the photograph mirrored from left to right."""
    a, b, c, d, e, f = affine
    return (-a, b, a + c, -d, e, d + f)


def into_window(affine: Affine, window: Window) -> Affine:
    """`affine` with the view's whole square squeezed into `window`."""
    a, b, c, d, e, f = affine
    width, height = window[2] - window[0], window[3] - window[1]
    return (a * width, b * width, c * width + window[0], d * height, e * height, f * height + window[1])


def seen_share(affine: Affine) -> float:
    """How much of the photograph's area lies inside the view, 0..1."""
    x0, x1 = sorted((affine[2], affine[0] + affine[2]))
    y0, y1 = sorted((affine[5], affine[4] + affine[5]))
    inside = max(min(x1, 1.0) - max(x0, 0.0), 0.0) * max(min(y1, 1.0) - max(y0, 0.0), 0.0)
    return inside / ((x1 - x0) * (y1 - y0))


def transform_boxes(
    objects: Iterable[AnyObject],
    affine: Affine,
    size_hw: tuple[int, int],
    size: int,
    window: Window = WHOLE,
) -> tuple[AnyObject, ...]:
    """Objects from pixels of `size_hw` to pixels of the view, clipped to `window`.

    An object of which less than a quarter is left becomes a `crowd` (ignored); one that is as good as gone is dropped.
    """
    moved = []
    for thing in objects:
        box = _moved(thing.box_xyxy, affine, size_hw, size)
        clipped = _clipped(box, window, size)
        width, height = clipped[2] - clipped[0], clipped[3] - clipped[1]
        if min(width, height) < SMALLEST_PX:
            continue
        left = width * height / ((box[2] - box[0]) * (box[3] - box[1]))
        if left >= SEEN_AT_ALL:
            moved.append(replace(thing, box_xyxy=clipped, crowd=thing.crowd or left < SEEN_WELL, mask=None))
    return tuple(moved)


def _moved(box: Window, affine: Affine, size_hw: tuple[int, int], size: int) -> Window:
    a, _, c, _, e, f = affine
    wide, high = size * a / size_hw[1], size * e / size_hw[0]
    x0, x1 = sorted((wide * box[0] + size * c, wide * box[2] + size * c))
    y0, y1 = sorted((high * box[1] + size * f, high * box[3] + size * f))
    return (x0, y0, x1, y1)


def _clipped(box: Window, window: Window, size: int) -> Window:
    x0, y0, x1, y1 = (edge * size for edge in window)
    return (max(box[0], x0), max(box[1], y0), min(box[2], x1), min(box[3], y1))


def pyramid_level(affine: Affine, source: int, size: int) -> int:
    """How often a picture of `source` pixels is halved before sampling it for a view of `size`, against aliasing."""
    a, b, _, d, e, _ = affine
    shrink = source / max(math.sqrt(abs(a * e - b * d)) * size, 1e-6)
    return min(max(math.floor(math.log2(shrink) + SHARPNESS), 0), LEVELS - 1)


def warp(
    photos: Tensor, index: Tensor, matrices: Tensor, out: int = 448, *, levels: Sequence[int] | None = None
) -> Tensor:
    """(B, 3, out, out) floats in 0..1: photographs (N, 3, S, S) uint8 at `index` (B,) placed by `matrices` (B, 2, 3).

    What a photograph does not cover has the mean colour. `levels` says how many items, from the front, use each
    level of the pyramid (the items must be sorted so); None finds and sorts by itself, waiting for the device once.
    """
    if levels is None:
        return _warp_unsorted(photos, index, matrices, out)
    views, start = [], 0
    fill = torch.tensor(FILL, device=photos.device).view(1, 3, 1, 1)
    for level, count in enumerate(levels):
        if count:
            part = slice(start, start + count)
            pictures = _halved(photos[index[part]], level)
            pixels, inside = resample(pictures, matrices[part], out, "bicubic")
            views.append(torch.where(inside.unsqueeze(1), pixels.clamp_(0.0, 1.0), fill))
            start += count
    return torch.cat(views) if len(views) != 1 else views[0]


def _warp_unsorted(photos: Tensor, index: Tensor, matrices: Tensor, out: int) -> Tensor:
    rows = matrices.flatten(1).tolist()
    level = [pyramid_level(tuple(row), photos.shape[-1], out) for row in rows]
    order = torch.tensor(sorted(range(len(level)), key=level.__getitem__), device=photos.device)
    counts = [level.count(step) for step in range(LEVELS)]
    views = warp(photos, index[order], matrices[order], out, levels=counts)
    return torch.empty_like(views).index_copy_(0, order, views)


def _halved(pictures: Tensor, level: int) -> Tensor:
    """uint8 pictures as floats in 0..1, averaged over blocks of 2**level pixels."""
    floats = pictures.float().div_(255.0)
    return F.avg_pool2d(floats, 2**level) if level else floats


def resample(pictures: Tensor, matrices: Tensor, out: int, mode: str) -> tuple[Tensor, Tensor]:
    """(B, C, out, out) pictures placed by `matrices` (B, 2, 3), and (B, out, out) where there is any picture."""
    grid = _sampling_grid(matrices.float(), out)
    pixels = F.grid_sample(pictures, grid, mode=mode, padding_mode="border", align_corners=False)
    return pixels, (grid.abs() <= 1.0).all(-1)


def _sampling_grid(matrices: Tensor, out: int) -> Tensor:
    """(B, out, out, 2): where each pixel of the view lies in its picture, in `grid_sample`'s coordinates -1..1.

    Written out instead of `affine_grid`, whose matrix product is rounded to bfloat16 or TF32 where training allows it.
    """
    a, b, c, d, e, f = matrices.view(-1, 6, 1, 1).unbind(1)
    middle = (torch.arange(out, device=matrices.device) + 0.5) / out
    x, y = middle.view(1, 1, out) - c, middle.view(1, out, 1) - f
    twice = 2.0 / (a * e - b * d)
    return torch.stack((twice * (e * x - b * y) - 1.0, twice * (a * y - d * x) - 1.0), 3)


def sample_colours(rng: Random, strength: float, grey: float) -> tuple[float, ...]:
    """A random colour map, 12 floats of a (3, 4) matrix; `strength` 0 changes nothing, `grey` drops all colour."""
    brightness = 1.0 + strength * rng.uniform(-0.5, 0.5)
    contrast = 1.0 + strength * rng.uniform(-0.5, 0.5)
    saturation = 0.0 if rng.random() < grey else 1.0 + strength * rng.uniform(-1.0, 1.0)
    return colour_map(brightness, contrast, saturation, strength * rng.uniform(-0.3, 0.3))


def colour_map(brightness: float, contrast: float, saturation: float, turn: float) -> tuple[float, ...]:
    """12 floats of a (3, 4) matrix: a turn about grey in radians, then factors of saturation, brightness, contrast."""
    cos, sin = math.cos(turn), math.sin(turn) / math.sqrt(3.0)
    same, up, down = cos + (1 - cos) / 3, (1 - cos) / 3 - sin, (1 - cos) / 3 + sin
    hue = ((same, up, down), (down, same, up), (up, down, same))
    luma = (0.299, 0.587, 0.114)
    gain = brightness * contrast
    rows: list[float] = []
    for row in range(3):
        for column in range(3):
            grey = sum(luma[k] * hue[k][column] for k in range(3))
            rows.append(gain * (saturation * hue[row][column] + (1.0 - saturation) * grey))
        rows.append(MIDDLE * (1.0 - contrast))
    return tuple(rows)


def recolour(views: Tensor, colours: Tensor) -> Tensor:
    """(B, 3, h, w) views with each pixel mapped by its item's (3, 4) matrix in `colours` (B, 3, 4), kept in 0..1."""
    red, green, blue, shift = colours.unsqueeze(3).unsqueeze(4).unbind(2)  # (B, 3, 1, 1) each
    mapped = red * views[:, 0:1] + green * views[:, 1:2] + blue * views[:, 2:3] + shift
    return mapped.clamp_(0.0, 1.0)
