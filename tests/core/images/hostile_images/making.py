"""Makes the pictures of the cases, and says in words how an opening differs from what is promised."""

from __future__ import annotations

import io
import pathlib
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any

CASES: dict[str, Callable[[], str]] = {}
TRUNCATED = "truncated or damaged"


def case(function: Callable[[], str]) -> Callable[[], str]:
    CASES[function.__name__] = function
    return function


def refused(source: Any, words: str) -> str:
    """Says what is wrong, or "" when `source` is refused as it should be."""
    from chiasm.images import open_image
    from chiasm_registry.errors import InputError

    try:
        opened = open_image(source)
    except InputError as error:
        text = str(error)
        if "\n" in text or len(text) > 200 or not text.isprintable() or re.search(r"0x[0-9a-f]{4}|root:", text):
            return f"ugly message: {text!r}"
        return "" if re.search(words, text) else f"message lacks {words!r}: {text}"
    return f"was accepted: {opened}"


def accepted(source: Any, pixels: Any = None, note: str = "", tolerance: int = 0) -> str:
    """Says what is wrong, or "" when `source` opens as RGB with these pixels and a note with these words."""
    import numpy as np
    from chiasm.images import open_image

    opened = open_image(source)
    if opened.rgb.mode != "RGB" or opened.size_hw != (opened.rgb.height, opened.rgb.width):
        return f"not RGB or wrong size: {opened}"
    if note not in " ".join(opened.notes) or bool(note) != bool(opened.notes) or "\n" in opened.name:
        return f"notes: {opened.notes}, name: {opened.name!r}"
    if pixels is not None:
        wanted, found = np.asarray(pixels).astype(int), np.asarray(opened.rgb).astype(int)
        if wanted.shape != found.shape or np.abs(wanted - found).max() > tolerance:
            return f"other pixels: {found.reshape(-1)[:12]} for {wanted.reshape(-1)[:12]}"
    return ""


def all_of(*wrong: str) -> str:
    return "; ".join(text for text in wrong if text)


def picture(width: int = 64, height: int = 48) -> Any:
    """An asymmetric picture that does not compress away."""
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(7).integers(0, 256, (height, width, 3), dtype=np.uint8)
    noise[: height // 3, : width // 2] = (200, 30, 40)
    return Image.fromarray(noise)


def array(width: int = 64, height: int = 48) -> Any:
    import numpy as np

    return np.asarray(picture(width, height)).copy()


def coded(image: Any, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *between: bytes, depth: int = 8, colour: int = 0, data: bytes = b"\0" * 64) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(between) + body


def exif(orientation: int) -> bytes:
    from PIL import Image

    data = Image.Exif()
    data[0x0112] = orientation
    return data.tobytes()


def file(name: str, data: bytes) -> str:
    pathlib.Path(name).write_bytes(data)
    return name


KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def cut(kind: str, percent: int) -> bytes:
    data = coded(picture(), kind)
    return data[: len(data) * percent // 100]
