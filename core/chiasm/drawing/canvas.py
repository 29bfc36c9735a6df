"""A canvas over one picture: marks are collected, then put on in layers, masks under frames under tags.

Coordinates are pixels of the image that was handed over. A small one is enlarged by a whole number, so that tags can be
read. Line width and text size come from the picture's size; marks outside are clipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from chiasm_registry.errors import InputError, shown
from chiasm_registry.guard import LOG, guarded
from PIL import Image, ImageDraw

from ..limits import LIMITS
from .fonts import Font, font_for
from .palette import INK, Colour, colours_by_label, text_on
from .shapes import Paint, disc, faded, outline, put_frame, rounded
from .tags import Rect, place_tags

if TYPE_CHECKING:
    from chiasm_registry.geometry import Box, Mask

_LABEL_CHARS = 32
_SMALL, _READABLE = 240, 320  # a picture whose long side is under the first is enlarged to at least the second


@dataclass(frozen=True)
class Mark:
    """One thing to draw: a tag at `area`, and what the flags say."""

    label: str
    caption: str
    area: Rect
    framed: bool = False
    dotted: bool = False
    mask: Mask | None = None
    heat: Image.Image | None = None  # of the canvas's size, 255 where it is strongest


class _Tag(NamedTuple):
    text: str
    font: Font
    size: tuple[int, int]


class Canvas:
    """Collects marks by label; `picture` draws them. `asked` orders the colours."""

    def __init__(self, image: Image.Image, asked: Sequence[str] = ()) -> None:
        long_side = max(image.size)
        self.scale = math.ceil(_READABLE / long_side) if long_side < _SMALL else 1
        size = (image.width * self.scale, image.height * self.scale)
        self._image = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        self._asked = tuple(asked)
        self._marks: list[Mark] = []
        middle = math.sqrt(size[0] * size[1])
        self.line = max(1, round(0.0045 * middle))
        self.text_size = max(12, min(round(0.029 * middle), size[1] // 3))

    def box(self, xyxy: tuple[float, float, float, float], label: str, score: float | None = None) -> None:
        """A frame with its tag."""
        self._marks.append(Mark(label, _caption(label, score), self._area(xyxy), framed=True))

    def mask(self, mask: Mask, label: str, score: float | None = None, box: Box | None = None) -> None:
        """A tinted, outlined region with its tag, and the frame of `box` if given; a foreign size is refused."""
        width, height = (side // self.scale for side in self._image.size)
        if mask.size_hw != (height, width):
            raise InputError(f"a mask of {mask.size_hw[1]}x{mask.size_hw[0]} does not fit an image of {width}x{height}")
        place = box or mask.box()
        if place is not None:
            self._marks.append(Mark(label, _caption(label, score), self._area(place.xyxy), box is not None, mask=mask))

    def point(self, x: float, y: float, label: str, score: float | None = None) -> None:
        """A dot with its tag."""
        r = (2 * self.line + 1) / self.scale
        self._marks.append(Mark(label, _caption(label, score), self._area((x - r, y - r, x + r, y + r)), dotted=True))

    def heat(self, values: Sequence[Sequence[float]], label: str) -> None:
        """A tint as strong as the values of a grid over the whole image, with a tag; a bad grid is refused."""
        rows = [[float(value) for value in row] for row in values]
        most = max((value for row in rows for value in row), default=0.0)
        if not rows or len({len(row) for row in rows}) != 1 or not rows[0] or not math.isfinite(most):
            raise InputError("heat wants rows of one length, of finite numbers from 0 on")
        grid = Image.new("L", (len(rows[0]), len(rows)))
        grid.putdata([round(255 * max(0.0, value) / most) if most > 0 else 0 for row in rows for value in row])
        stencil = grid.resize(self._image.size, Image.Resampling.BILINEAR)
        self._marks.append(Mark(label, _caption(label, None), Rect(0, 0, *self._image.size), heat=stencil))

    def text(self, x: float, y: float, text: str) -> None:
        """A tag alone, its upper left corner at (x, y)."""
        self._marks.append(Mark(text, shown(text, _LABEL_CHARS), self._area((x, y, x, y))))

    def attempt(self, draw: Callable[[Canvas], bool], what: str, home: str = "") -> bool:
        """Let a plugin draw; when it answers False or fails, none of its marks stay and the answer is False.

        A failure is told in the log as one of `what`.
        """
        before, asked = list(self._marks), self._asked
        outcome = guarded(lambda: draw(self) is True, what, home)
        fault, most = outcome.fault, len(before) + LIMITS.items
        if fault is None and len(self._marks) > most:
            fault = f"more than {LIMITS.items} marks"
        if fault is not None:
            LOG.warning("%s failed: %s; the output is drawn without it", what, fault)
        done = outcome.value is True and fault is None
        if not done:
            self._marks, self._asked = before, asked
        return done

    def picture(self) -> Image.Image:
        """The picture with every mark; the image it was made from is untouched."""
        colours = colours_by_label(self._asked, [mark.label for mark in self._marks])
        canvas = self._image.copy()
        for mark in self._marks:
            if mark.heat is not None:
                canvas.paste(colours[mark.label], (0, 0), faded(mark.heat, 0.7))
        outlines = [self._put_mask(canvas, mark, colours[mark.label]) for mark in reversed(self._marks)]
        for put in outlines:  # over every tint: where masks overlap, both edges are seen
            put()
        for mark in reversed(self._marks):  # the first is the surest: it lies on top
            self._put_frame(canvas, mark, colours[mark.label])
        tags = [self._tag(mark.caption) for mark in self._marks]
        areas = [mark.area for mark in self._marks]
        places = place_tags(areas, [tag.size for tag in tags], canvas.size, self.line)
        for mark, tag, place in reversed(list(zip(self._marks, tags, places, strict=True))):
            self._put_tag(canvas, tag, place, colours[mark.label])
        return canvas

    def _area(self, xyxy: tuple[float, float, float, float]) -> Rect:
        width, height = self._image.size
        left, top, right, bottom = (round(v * self.scale) for v in xyxy)
        x0, y0 = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
        return Rect(x0, y0, min(max(right, x0 + 1), width), min(max(bottom, y0 + 1), height))

    def _put_mask(self, canvas: Image.Image, mark: Mark, colour: Colour) -> Callable[[], None]:
        """Tint a mask's inside; what comes back draws its edge, dark on both sides so that it is seen on any ground."""
        if mark.mask is None or (tight := mark.mask.box()) is None:
            return lambda: None
        room = 3 * self.line + 2  # the outline lies half outside
        x0, y0, x1, y1 = self._area(tight.xyxy)
        area = (max(0, x0 - room), max(0, y0 - room), min(canvas.width, x1 + room), min(canvas.height, y1 + room))
        whole = Image.fromarray(mark.mask.numpy().astype("uint8") * 255)
        stencil = whole.resize(canvas.size, Image.Resampling.NEAREST).crop(area) if self.scale > 1 else whole.crop(area)
        canvas.paste(colour, area[:2], faded(stencil, 0.42))

        def edge() -> None:
            canvas.paste(INK, area[:2], faded(outline(stencil, 2 * self.line), 0.5))
            canvas.paste(colour, area[:2], outline(stencil, self.line))

        return edge

    def _put_frame(self, canvas: Image.Image, mark: Mark, colour: Colour) -> None:
        x0, y0, x1, y1 = mark.area
        if mark.dotted:
            radius = (x1 - x0) // 2
            canvas.paste(INK, (x0 - self.line, y0 - self.line), faded(disc(radius + self.line), 0.5))
            canvas.paste(colour, (x0, y0), disc(radius))
        if not mark.framed:
            return
        line = self.line if mark.mask is None else max(1, self.line // 2)
        halo = max(1, line // 3)
        width, height = x1 - x0, y1 - y0
        around = (width + 2 * halo, height + 2 * halo)
        put_frame(canvas, (x0 - halo, y0 - halo), around, 3 * line + halo, line + 2 * halo, Paint(INK, 0.45))
        put_frame(canvas, (x0, y0), (width, height), 3 * line, line, Paint(colour))

    def _tag(self, caption: str) -> _Tag:
        """The caption as large as fits into the picture, shortened where even the smallest does not."""
        for size in range(self.text_size, 8, -1):
            tag = _measured(caption, size)
            if tag.size[0] <= self._image.width:
                return tag
        label = caption
        while len(label) > 1 and _measured(label + "…", 9).size[0] > self._image.width:
            label = label[:-1]
        return _measured(label + "…", 9)

    def _put_tag(self, canvas: Image.Image, tag: _Tag, place: Rect, colour: Colour) -> None:
        size = (place.x1 - place.x0, place.y1 - place.y0)
        canvas.paste(colour, place[:2], rounded(size, max(2, tag.size[1] // 6)))
        middle = (place.x0 + tag.size[0] / 2, place.y0 + tag.size[1] / 2)
        ImageDraw.Draw(canvas).text(middle, tag.text, font=tag.font, fill=text_on(colour), anchor="mm")


def _caption(label: str, score: float | None) -> str:
    name = shown(label, _LABEL_CHARS)
    return name if score is None else f"{name} {score:.2f}"


def _measured(caption: str, size: int) -> _Tag:
    font, text = font_for(caption, size)
    return _Tag(text, font, (math.ceil(font.getlength(text)) + round(0.7 * size), round(1.42 * size)))
