"""Reading COCO annotation files; refuses everything that makes pycocotools crash, hang or score wrong in silence."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from chiasm_registry.errors import InputError, shown, shown_path
from chiasm_registry.rle import MAX_PIXELS, Rle

from ..limits import LIMITS, Limits
from ..strict_json import parse_json, read_bytes
from . import rows
from .rows import Four, RowError, read_rows, refuse_twice
from .segments import Polygons, truth_mask


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One image of the file; `file_name` is None in files that only serve scoring."""

    id: int
    size_hw: tuple[int, int]
    file_name: str | None


@dataclass(frozen=True, slots=True)
class CocoCategory:
    """One name that the file annotates."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class CocoAnnotation:
    """One object; `id` counts from 1 in the order of the file (0 would score as "not matched")."""

    id: int
    image_id: int
    category_id: int
    bbox_xywh: Four  # pixels, as the file has them
    area: float  # square pixels: of the mask where the set has masks
    crowd: bool
    mask: Polygons | Rle | None


@dataclass(frozen=True, slots=True)
class CocoSet:
    """A checked annotation file."""

    name: str
    sha256: str  # of the file's bytes
    images: tuple[CocoImage, ...]
    categories: tuple[CocoCategory, ...]
    annotations: tuple[CocoAnnotation, ...]
    notes: tuple[str, ...] = ()

    def only_images(self, ids: Collection[int]) -> CocoSet:
        """The same set with these images alone."""
        images = tuple(image for image in self.images if image.id in ids)
        return replace(self, images=images, annotations=tuple(a for a in self.annotations if a.image_id in ids))

    def only_pairs(self, pairs: Collection[tuple[int, int]]) -> CocoSet:
        """The same set with the annotations of these (image id, category id) pairs alone."""
        return replace(self, annotations=tuple(a for a in self.annotations if (a.image_id, a.category_id) in pairs))


def read_coco(path: str | Path, limits: Limits = LIMITS) -> CocoSet:
    """A COCO annotation file, checked; an InputError names file, list and index of what is wrong.

    Missing `iscrowd` is 0 and missing `area` is the box's, everything else must be there. Boxes that reach outside
    their image are kept as they are (pycocotools scores them so) and counted in a note.
    """
    path = Path(path)
    data = read_bytes(path, limits)
    name = shown_path(path, 60)
    value = parse_json(data, name, limits)
    if not isinstance(value, dict):
        raise InputError(f"{name}: must be an object with images, categories, annotations, not {rows.kind_of(value)}")
    for key in ("images", "categories", "annotations"):
        if key not in value:
            raise InputError(f"{name}: has no '{key}'; a COCO annotation file holds images, categories and annotations")
    images = _images(value["images"], name)
    categories = read_rows(value["categories"], name, "categories", _category)
    refuse_twice((category.id for category in categories), name, "category id")
    refuse_twice((category.name for category in categories), name, "category name")
    annotations = _annotations(value["annotations"], name, images, categories)
    notes = _notes(annotations, {image.id: image.size_hw for image in images}, name)
    return CocoSet(name, sha256(data).hexdigest(), images, categories, annotations, notes)


def _images(value: Any, name: str) -> tuple[CocoImage, ...]:
    images = read_rows(value, name, "images", read_image)
    refuse_twice((image.id for image in images), name, "image id")
    refuse_twice((image.file_name for image in images if image.file_name is not None), name, "file_name")
    return images


def read_image(row: dict[str, Any]) -> CocoImage:
    """One row of `images`; a RowError says what is wrong with it."""
    size_hw = rows.side(row, "height"), rows.side(row, "width")
    if size_hw[0] * size_hw[1] > MAX_PIXELS:
        raise RowError(f"{size_hw[1]} x {size_hw[0]} pixels are more than masks can count; at most 2^31 - 1")
    file_name = rows.relative_path(row, "file_name") if "file_name" in row else None
    return CocoImage(rows.identity(row, "id"), size_hw, file_name)


def _category(row: dict[str, Any]) -> CocoCategory:
    return CocoCategory(rows.identity(row, "id"), rows.text(row, "name"))


def _annotations(
    value: Any, name: str, images: tuple[CocoImage, ...], categories: tuple[CocoCategory, ...]
) -> tuple[CocoAnnotation, ...]:
    sizes = {image.id: image for image in images}
    names = {category.id: category for category in categories}
    ids: list[int] = []

    def read(row: dict[str, Any]) -> CocoAnnotation:
        ids.append(rows.identity(row, "id"))
        return _annotation(row, len(ids), rows.known(row, "image_id", sizes, "images"), names)

    annotations = read_rows(value, name, "annotations", read)
    refuse_twice(ids, name, "annotation id")
    return annotations


def _annotation(row: dict[str, Any], number: int, image: CocoImage, names: dict[int, CocoCategory]) -> CocoAnnotation:
    category = rows.known(row, "category_id", names, "categories")
    bbox = rows.box_xywh(rows.field(row, "bbox"), image.size_hw)
    area = rows.number(row["area"], "area") if "area" in row else bbox[2] * bbox[3]
    if area < 0:
        raise RowError(f"area is negative: {area}")
    crowd = row.get("iscrowd", 0)
    if type(crowd) is not int or crowd not in (0, 1):
        raise RowError(f"iscrowd must be 0 or 1, not {shown(repr(crowd), 40)}")
    mask = truth_mask(row["segmentation"], image.size_hw) if "segmentation" in row else None
    return CocoAnnotation(number, image.id, category.id, bbox, area, crowd == 1, mask)


def _notes(annotations: tuple[CocoAnnotation, ...], sizes: dict[int, tuple[int, int]], name: str) -> tuple[str, ...]:
    outside = 0
    for annotation in annotations:
        x, y, width, height = annotation.bbox_xywh
        size_hw = sizes[annotation.image_id]
        outside += x < -1 or y < -1 or x + width > size_hw[1] + 1 or y + height > size_hw[0] + 1
    if not outside:
        return ()
    return (f"{name}: {outside} boxes reach outside their image; they are scored as the file has them",)
