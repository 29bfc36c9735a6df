"""Anti-aliased stencils: 8-bit masks through which a colour is put on a picture."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from .palette import Colour

_FINE = 4  # stencils of corners are drawn so much larger, then averaged


class Paint(NamedTuple):
    """A colour and how much of it covers what lies below, 0 to 1."""

    colour: Colour
    share: float = 1.0


def put_frame(
    canvas: Image.Image, place: tuple[int, int], size: tuple[int, int], radius: int, line: int, paint: Paint
) -> None:
    """Put a frame with round corners on `canvas`; only the pixels of its edges are touched, however large it is."""
    (colour, share), (x, y), (width, height) = paint, place, size
    if min(size) <= 2 * radius or radius < line:
        canvas.paste(colour, place, faded(rounded(size, radius, line), share))
        return
    right, bottom, level = x + width, y + height, round(255 * share)
    corner = faded(_corner(radius, line), share)
    for left, top, turned in _turned(corner, width, height):
        canvas.paste(colour, (x + left, y + top), turned)
    for edge in (
        (x + radius, y, right - radius, y + line),
        (x + radius, bottom - line, right - radius, bottom),
        (x, y + radius, x + line, bottom - radius),
        (right - line, y + radius, right, bottom - radius),
    ):
        canvas.paste(colour, edge[:2], Image.new("L", (edge[2] - edge[0], edge[3] - edge[1]), level))


def rounded(size: tuple[int, int], radius: int, line: int | None = None) -> Image.Image:
    """A rectangle of `size` with round corners: a frame of width `line`, or filled when that is None."""
    width, height = size
    radius = max(0, min(radius, width // 2, height // 2))
    stencil = Image.new("L", size, 255 if line is None else 0)
    if line is not None:
        ImageDraw.Draw(stencil).rectangle((0, 0, width - 1, height - 1), outline=255, width=line)
    if radius > 1:
        for left, top, turned in _turned(_corner(radius, line), width, height):
            stencil.paste(turned, (left, top))
    return stencil


def _turned(corner: Image.Image, width: int, height: int) -> Iterator[tuple[int, int, Image.Image]]:
    """The upper left corner turned to all four, each with its place in a rectangle."""
    flip, mirror = Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.FLIP_LEFT_RIGHT
    right, bottom = width - corner.width, height - corner.height
    yield 0, 0, corner
    yield right, 0, corner.transpose(mirror)
    yield 0, bottom, corner.transpose(flip)
    yield right, bottom, corner.transpose(mirror).transpose(flip)


@lru_cache(maxsize=64)
def _corner(radius: int, line: int | None) -> Image.Image:
    side = radius * _FINE
    fine = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(fine)
    draw.ellipse((0, 0, 2 * side - 1, 2 * side - 1), fill=255)
    if line is not None and line < radius:
        edge = line * _FINE
        draw.ellipse((edge, edge, 2 * side - 1 - edge, 2 * side - 1 - edge), fill=0)
    return fine.reduce(_FINE)


def disc(radius: int) -> Image.Image:
    """A filled circle, 2 * radius pixels wide."""
    return rounded((2 * radius, 2 * radius), radius)


def outline(mask: Image.Image, line: float) -> Image.Image:
    """The border of a filled stencil (0 or 255), about `line` pixels wide, softened on both sides."""
    soft = mask.filter(ImageFilter.GaussianBlur(max(0.6, line / 2)))
    # A blurred step passes one half at the border; the tent round one half is the line.
    return soft.point([round(255 * min(1.0, max(0.0, 1.6 - 3.2 * abs(v / 255 - 0.5)))) for v in range(256)])


def faded(stencil: Image.Image, share: float) -> Image.Image:
    """The stencil with its opacity multiplied by `share`."""
    return ImageChops.multiply(stencil, Image.new("L", stencil.size, round(255 * share)))
