"""The one door for images: whatever the caller has becomes a private, upright RGB copy, or an `InputError`.

Decisions where several were possible:
    paths   `str` or `os.PathLike` of local files only, links are followed; a subclass of `str` is refused
    bytes   `bytes`, `bytearray` and `memoryview` are image files in memory; open file objects are refused
    PIL     any mode that the list in `rgb.py` names; the caller opened it, so its file format is the caller's choice
    arrays  numpy uint8 HxW (grey), HxWx3, HxWx4 (alpha on white); torch uint8 3xHxW; ranges are never guessed
    files   JPEG, PNG, WEBP, GIF, BMP, TIFF by content; a name that says otherwise is a note
    sides   long side over short side at most `Limits.image_aspect`; pixels at most `Limits.image_pixels`
    frames  the first frame or page, with a note; they are not counted
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from chiasm_registry.errors import InputError, shown, shown_path
from PIL import Image

from chiasm.limits import LIMITS, Limits

from .arrays import array_to_image, tensor_to_image
from .decode import decode, own_copy
from .file import read_image_file
from .rgb import upright_rgb

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    ImageSource: TypeAlias = (
        str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | NDArray[np.uint8] | Tensor
    )
else:
    ImageSource = object


@dataclass(frozen=True, eq=False)
class OpenedImage:
    """An image that nobody else holds."""

    rgb: Image.Image  # mode RGB, upright
    size_hw: tuple[int, int]  # of `rgb`, pixels
    name: str  # fit for a message: one line
    notes: tuple[str, ...] = ()  # what a person should know: one line each
    source: str | None = None  # the path as it was given, "?" for what is no text in it; None: it was no path


def open_image(source: ImageSource, *, limits: Limits = LIMITS) -> OpenedImage:
    """`source` as an upright RGB copy; the caller's object is never written, no address on the network ever opened.

    Raises `InputError` with one line for anything that is not an image within `limits`.
    """
    path = _path(source)
    name, image, notes = _loaded(source, limits) if path is None else _read(path, limits)
    rgb = upright_rgb(image, name)
    text = path if path is None else path.encode("utf-8", "replace").decode()  # JSON takes no half characters
    return OpenedImage(rgb, (rgb.height, rgb.width), name, notes, text)


def _read(path: str, limits: Limits) -> tuple[str, Image.Image, tuple[str, ...]]:
    name = f"'{shown_path(path)}'"
    return name, *decode(read_image_file(path, name, limits), name, limits, suffix=os.path.splitext(path)[1])


def _loaded(source: object, limits: Limits) -> tuple[str, Image.Image, tuple[str, ...]]:
    """By type alone: bytes are never taken for a path, nor a path for bytes."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "the image", *decode(bytes(source), "the image", limits)
    if isinstance(source, Image.Image):
        return "the PIL image", own_copy(source, "the PIL image", limits), ()
    if _is_instance(source, "numpy", "ndarray"):
        return "the array", array_to_image(source, "the array", limits), ()
    if _is_instance(source, "torch", "Tensor"):
        return "the tensor", tensor_to_image(source, "the tensor", limits), ()
    kind = shown(type(source).__name__, 40)
    raise InputError(f"an image is a path, bytes, a PIL image, a numpy array or a torch tensor, not {kind}")


def _is_instance(source: object, module: str, name: str) -> bool:
    """Asked without importing: what was never imported has no instances."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(source, kind)


def _path(source: object) -> str | None:
    """The path as text; None for what is no path."""
    if isinstance(source, str) or not isinstance(source, os.PathLike):
        return source if type(source) is str else None
    try:
        path = os.fspath(source)
    except Exception as error:
        raise InputError("this path object does not give a path; pass a str or a pathlib.Path") from error
    if not isinstance(path, str):
        raise InputError("an image path is text; pass a str or a pathlib.Path")
    return path
