"""The font of a label: Pillow's own where it has every letter, else a common font of the system, else plain letters."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_SYSTEM = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "WenQuanYiMicroHei.ttf",
    "Arial Unicode.ttf",
    "arial.ttf",
    "msyh.ttc",
    "segoeui.ttf",
)
_NO_GLYPH = "\U0010fffd"  # a private character that no font draws: what it draws instead is "missing"


def font_for(text: str, size: int) -> tuple[Font, str]:
    """A font of `size` pixels and the text to draw with it: unchanged, or without accents when no font has them."""
    for name in (None, *_SYSTEM):
        if _covers(name, text):
            return _font(name, size), text
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return _font(None, size), plain


@lru_cache(maxsize=256)
def _covers(name: str | None, text: str) -> bool:
    try:
        font = _font(name, 16)
    except OSError:  # not installed here
        return False
    missing = bytes(font.getmask(_NO_GLYPH))
    return all(c == " " or bytes(font.getmask(c)) != missing for c in set(text))


@lru_cache(maxsize=64)
def _font(name: str | None, size: int) -> Font:
    return ImageFont.load_default(size=size) if name is None else ImageFont.truetype(name, size)
