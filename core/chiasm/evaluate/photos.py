"""The photographs of a COCO set on disk: looked at before any work, so that a missing one is named at once."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

from chiasm_registry.errors import InputError, shown_path
from PIL import Image

from ..images import open_image
from .coco import CocoImage, CocoSet

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height


@dataclass(frozen=True)
class Photo:
    """An image of the set and its file."""

    image: CocoImage
    path: Path

    def open(self) -> Image.Image:
        """The upright RGB picture; an InputError when it does not decode or has another size than the set says."""
        opened = open_image(self.path)
        if opened.size_hw != self.image.size_hw:
            raise InputError(_other_size(self, opened.size_hw))
        return opened.rgb


def open_photo(photo: Photo, faults: list[str], *, skip_missing: bool) -> Image.Image | None:
    """The picture; None, and a line more in `faults`, where those are passed over whose header alone was well."""
    try:
        return photo.open()
    except InputError as fault:
        if not skip_missing:
            raise
        faults.append(str(fault))
        return None


def find_photos(truth: CocoSet, folder: Path, *, skip_missing: bool = False) -> tuple[list[Photo], list[str]]:
    """The usable photographs in the file's order, and a line for each other; those are an InputError by default."""
    if not os.path.isdir(folder):  # unlike Path's own, false for a name that no folder can have
        raise InputError(f"{shown_path(folder, 100)}: no such folder of images")
    photos, faults = [], []
    for index, image in enumerate(truth.images):
        if image.file_name is None:
            raise InputError(f"{truth.name}: images[{index}]: has no 'file_name'; evaluation must find its photograph")
        photo = Photo(image, folder / image.file_name)
        fault = _fault(photo)
        if fault is None:
            photos.append(photo)
        else:
            faults.append(fault)
    if faults and not skip_missing:
        raise InputError(
            f"{len(faults)} of {len(truth.images)} photographs cannot be used: {faults[0]}"
            f"{' ...' if len(faults) > 1 else ''}; --skip-missing goes on without"
        )
    if not photos:
        where = shown_path(folder, 60)
        raise InputError(f"{where}: none of the {len(truth.images)} photographs of {truth.name} is there")
    return photos, faults


def _fault(photo: Photo) -> str | None:
    """What is wrong as far as the header tells; pixels are not decoded yet."""
    name = shown_path(photo.image.file_name, 50)
    if not os.path.isfile(photo.path):
        return f"'{name}' is missing"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(photo.path, formats=FORMATS) as header:
                size_hw = header.height, header.width
                turned = header.getexif().get(0x0112) in _TURNED
    except Exception:  # Pillow raises whatever its parsers raise
        return f"'{name}' is not a readable image"
    if photo.image.size_hw not in (size_hw, size_hw[::-1] if turned else size_hw):
        return _other_size(photo, size_hw)
    return None


def _other_size(photo: Photo, size_hw: tuple[int, int]) -> str:
    said = photo.image.size_hw
    name = shown_path(photo.image.file_name, 50)
    return f"'{name}' has {size_hw[1]} x {size_hw[0]} pixels where the file says {said[1]} x {said[0]}"
