"""From the bytes of an image file to its loaded first frame: kind by content, size from the header, then pixels.

Only the six parsers below are ever started. Pillow's own messages hold object addresses and are not repeated.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from io import BytesIO

from chiasm_registry.errors import InputError
from PIL import Image, ImageFile

from chiasm.limits import Limits

_PARSERS = {  # kind: (Pillow's module, its class, file suffixes)
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile", (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile", (".png", ".apng")),
    "WEBP": ("PIL.WebPImagePlugin", "WebPImageFile", (".webp",)),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile", (".gif",)),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile", (".bmp", ".dib")),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile", (".tif", ".tiff")),
}
_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)


def decode(data: bytes, name: str, limits: Limits, suffix: str = "") -> tuple[Image.Image, tuple[str, ...]]:
    """The first frame, loaded, with notes; refuses other kinds, sizes beyond `limits`, data that does not decode."""
    if len(data) > limits.image_bytes:
        raise InputError(f"{name} is larger than {limits.image_bytes // 2**20} MiB, the limit for an image file")
    kind = _kind(data, name)
    module, parser, suffixes = _PARSERS[kind]
    with _refused_as(f"{name} is truncated or damaged: its {kind} data does not decode"):
        image: ImageFile.ImageFile = getattr(import_module(module), parser)(BytesIO(data))
        check_size(image.width, image.height, name, limits)
        with _no_half_images():
            image.load()
    notes = []
    if suffix and suffix.lower() not in suffixes:
        notes.append(f"{name} is a {kind} file, whatever its name says")
    if _has_more_frames(image):
        notes.append(f"{name} has several frames or pages; only the first is read")
    return image, tuple(notes)


def own_copy(image: Image.Image, name: str, limits: Limits) -> Image.Image:
    """A loaded copy of the caller's image; one at a time, because Pillow's lazy loading is not made for threads."""
    with _refused_as(f"{name} cannot be read: it is closed, truncated or damaged"):
        check_size(*image.size, name, limits)
        with _COPYING, _no_half_images():
            return image.copy()


def check_size(width: int, height: int, name: str, limits: Limits) -> None:
    """Before any pixel exists."""
    if width < 1 or height < 1:
        raise InputError(f"{name} is empty: {width} x {height} pixels")
    if width * height > limits.image_pixels:
        raise InputError(f"{name} has {width} x {height} pixels; the limit is {limits.image_pixels / 1e6:g} million")
    if max(width, height) > limits.image_side:
        raise InputError(f"{name} has {width} x {height} pixels; the limit for a side is {limits.image_side}")
    if max(width, height) > limits.image_aspect * min(width, height):
        raise InputError(
            f"{name} has {width} x {height} pixels; a side is over {limits.image_aspect:g} times the other"
        )


def _kind(data: bytes, name: str) -> str:
    if not data:
        raise InputError(f"{name} is an empty file")
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    raise InputError(f"{name} is not an image of an allowed kind ({', '.join(_PARSERS)})")


def _has_more_frames(image: ImageFile.ImageFile) -> bool:
    try:  # GIF looks one frame ahead for it, which may be damaged
        return bool(getattr(image, "is_animated", False))
    except Exception:
        return False


@contextmanager
def _refused_as(message: str) -> Iterator[None]:
    """Pillow raises far more than OSError on hostile data: ValueError, SyntaxError, struct.error, MemoryError ..."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(message) from error


_COPYING = threading.Lock()
_FLAG = threading.Lock()
_held: list[bool] = []  # what the flag was, once for each thread that is inside


@contextmanager
def _no_half_images() -> Iterator[None]:
    """Another library may have told Pillow to fill what is missing with grey; not while we decode."""
    with _FLAG:
        _held.append(_held[0] if _held else ImageFile.LOAD_TRUNCATED_IMAGES)
        ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        with _FLAG:
            before = _held.pop()
            if not _held:
                ImageFile.LOAD_TRUNCATED_IMAGES = before
