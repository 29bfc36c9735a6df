"""Anti-aliased stencils: 8-bit masks through which a colour is put on a picture."""

from __future__ import annotations

from functools import lru_cache

from PIL import Image, ImageChops, ImageDraw, ImageFilter

_FINE = 4  # stencils of corners are drawn so much larger, then averaged


def rounded(size: tuple[int, int], radius: int, line: int | None = None) -> Image.Image:
    """A rectangle of `size` with round corners: a frame of width `line`, or filled when that is None."""
    width, height = size
    radius = max(0, min(radius, width // 2, height // 2))
    stencil = Image.new("L", size, 255 if line is None else 0)
    if line is not None:
        ImageDraw.Draw(stencil).rectangle((0, 0, width - 1, height - 1), outline=255, width=line)
    if radius > 1:
        corner = _corner(radius, line)
        flip, mirror = Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.FLIP_LEFT_RIGHT
        stencil.paste(corner, (0, 0))
        stencil.paste(corner.transpose(mirror), (width - radius, 0))
        stencil.paste(corner.transpose(flip), (0, height - radius))
        stencil.paste(corner.transpose(mirror).transpose(flip), (width - radius, height - radius))
    return stencil


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
