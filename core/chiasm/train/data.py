"""Annotated photographs in COCO form as records; refuses what cannot be trained on, naming the file and the image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

from chiasm_registry.contract import SampleObject
from chiasm_registry.errors import InputError, TrainingError, shown, shown_path

from ..limits import LIMITS
from ..strict_json import parse_json, read_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROUNDING_PX = 1.0  # a box may leave the image by this much: annotations are rounded
Rows = Sequence[Mapping[str, Any]]


class BadSample(TrainingError):  # noqa: N818
    """One image of a training set is not usable; `sample_id` says which."""

    def __init__(self, sample_id: str, fact: str) -> None:
        super().__init__(f"image {shown(sample_id, 40)}: {fact}")
        self.sample_id = sample_id
        self.fact = fact

    def __reduce__(self) -> tuple[type[BadSample], tuple[str, str]]:
        return (BadSample, (self.sample_id, self.fact))  # a worker process sends it to its parent


@dataclass(frozen=True)
class Record:
    """One annotated photograph; boxes are xyxy in pixels of `size_hw`.

    `labelled` holds the names that are fully annotated here; None means every name there is.
    `segments` holds for each object what the file says of its mask (polygons or RLE), unread until it is needed.
    """

    image_id: str
    path: Path
    size_hw: tuple[int, int]
    objects: tuple[SampleObject, ...]
    captions: tuple[str, ...] = ()
    labelled: frozenset[str] | None = None
    segments: tuple[Any, ...] = ()

    def mask(self, index: int) -> NDArray[np.bool_] | None:
        """(h, w) mask of the object at `index`, None if the file has none; BadSample if it cannot be read."""
        from .segments import segment_to_mask

        segment = self.segments[index] if index < len(self.segments) else None
        try:
            return None if segment is None else segment_to_mask(segment, self.size_hw)
        except InputError as error:
            raise BadSample(self.image_id, str(error)) from error


def read_records(
    annotations: Path,
    images: Path,
    *,
    captions: Path | None = None,
    extra_masks: Path | None = None,
    on_bad: Literal["skip", "stop"] = "stop",
    report: Callable[[str], None],
) -> list[Record]:
    """The usable images of a COCO file in its order; a bad one is reported and skipped, or raised as BadSample.

    `captions` maps image ids to lists of sentences; `extra_masks` is `{"annotations": [{"annotation_id",
    "segmentation"}]}` and completes objects that have no mask. An image may carry `neg_category_ids` and
    `not_exhaustive_category_ids` (LVIS): then only its other named categories count as labelled.
    """
    reader = _Reader(_json(annotations), annotations, images, _captions(captions), _extra_masks(extra_masks))
    records: list[Record] = []
    skipped = 0
    for row in reader.images:
        try:
            records.append(reader.record(row))
        except BadSample as bad:
            if on_bad == "stop":
                raise
            skipped += 1
            report(f"skipped {bad}")
    if skipped:
        report(f"{skipped} of {len(reader.images)} images of {annotations.name} skipped")
    if not records:
        raise TrainingError(f"{shown(annotations.name)}: no usable image")
    return records


class _Reader:
    """The tables of one annotation file, joined."""

    def __init__(
        self,
        table: Any,
        file: Path,
        folder: Path,
        captions: Mapping[str, tuple[str, ...]],
        extra_masks: Mapping[int, Any],
    ) -> None:
        self.file, self.folder, self.captions, self.extra_masks = file, folder, captions, extra_masks
        self.images = _rows(table, "images", file)
        _unique((row.get("id") for row in self.images), "image id", file)
        categories = _rows(table, "categories", file)
        _unique((row.get("name") for row in categories), "category name", file)
        _unique((row.get("id") for row in categories), "category id", file)
        self.names: dict[Any, str] = {row["id"]: str(row["name"]) for row in categories}
        self.labelled = frozenset(self.names.values())
        self.by_image: dict[Any, list[Mapping[str, Any]]] = {row["id"]: [] for row in self.images}
        for row in _rows(table, "annotations", file):
            if not _is_id(row.get("image_id")) or row["image_id"] not in self.by_image:
                fact = f"annotation {shown(row.get('id'), 20)} names image {shown(row.get('image_id'), 20)}"
                raise TrainingError(f"{shown(file.name)}: {fact}, which the file does not list")
            self.by_image[row["image_id"]].append(row)

    def record(self, row: Mapping[str, Any]) -> Record:
        """The record of one row of `images`, or BadSample."""
        image_id = str(row["id"])
        size_hw = (row.get("height"), row.get("width"))
        if not all(isinstance(side, int) and 0 < side <= LIMITS.image_side for side in size_hw):
            raise BadSample(image_id, f"height and width are {shown(size_hw)}; give whole pixels")
        size: tuple[int, int] = size_hw  # type: ignore[assignment]
        rows = self.by_image[row["id"]]
        objects = tuple(self._object(entry, size, image_id) for entry in rows)
        return Record(
            image_id=image_id,
            path=self._path(row.get("file_name"), image_id),
            size_hw=size,
            objects=objects,
            captions=self.captions.get(image_id, ()),
            labelled=self._labelled(row, objects),
            segments=tuple(entry.get("segmentation") or self.extra_masks.get(entry.get("id", -1)) for entry in rows),
        )

    def _object(self, row: Mapping[str, Any], size_hw: tuple[int, int], image_id: str) -> SampleObject:
        where = f"annotation {shown(row.get('id'), 20)}"
        category = row.get("category_id")
        name = self.names.get(category) if _is_id(category) else None
        if name is None:
            raise BadSample(image_id, f"{where} has category {shown(row.get('category_id'), 20)}, which is not listed")
        if row.get("iscrowd", 0) not in (0, 1):
            raise BadSample(image_id, f"{where} has iscrowd {shown(row['iscrowd'], 20)}; it is 0 or 1")
        box = _checked_box(row.get("bbox"), size_hw)
        if isinstance(box, str):
            raise BadSample(image_id, f"{where}: its box {shown(row.get('bbox'), 60)} {box}")
        return SampleObject(name, box, crowd=bool(row.get("iscrowd", 0)))

    def _path(self, name: Any, image_id: str) -> Path:
        plain = isinstance(name, str) and name.isprintable() and name not in ("", ".")
        if not plain or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise BadSample(image_id, f"file_name {shown(name)} is not a plain name inside the image folder")
        path = self.folder / str(name)
        if not path.is_file():
            raise BadSample(image_id, f"{shown_path(name)} is not in the image folder")
        return path

    def _labelled(self, row: Mapping[str, Any], objects: Sequence[SampleObject]) -> frozenset[str]:
        absent, partial = row.get("neg_category_ids"), row.get("not_exhaustive_category_ids")
        if absent is None and partial is None:
            return self.labelled  # another file of the run may have more categories
        for key, ids in (("neg_category_ids", absent), ("not_exhaustive_category_ids", partial)):
            if ids is not None and not (isinstance(ids, list) and all(map(_is_id, ids))):
                raise BadSample(str(row["id"]), f"{key} is {shown(ids, 40)}; it must be a list of category ids")
        known = {thing.name for thing in objects} | {self.names[i] for i in absent or () if i in self.names}
        return frozenset(known - {self.names[i] for i in partial or () if i in self.names})


def _checked_box(bbox: Any, size_hw: tuple[int, int]) -> tuple[float, float, float, float] | str:
    """COCO's x, y, width, height as xyxy clipped to the image, or what is wrong with it."""
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(_is_number(value) for value in bbox):
        return "is not four finite numbers"
    x, y, width, height = (float(value) for value in bbox)
    if width <= 0 or height <= 0:
        return "has no area"
    if min(x, y) < -ROUNDING_PX or x + width > size_hw[1] + ROUNDING_PX or y + height > size_hw[0] + ROUNDING_PX:
        return f"leaves the image of {size_hw[1]} x {size_hw[0]} pixels"
    box = (max(x, 0.0), max(y, 0.0), min(x + width, float(size_hw[1])), min(y + height, float(size_hw[0])))
    return box if box[2] > box[0] and box[3] > box[1] else "has no area inside the image"


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _json(path: Path) -> Any:
    try:
        data = read_bytes(path)
    except InputError as error:
        raise TrainingError(str(error)) from error
    # numbers are looked at row by row, so that one that is not finite is its image's fault alone
    return parse_json(data, shown_path(path.name, 60), error=TrainingError, finite=False)


def _rows(table: Any, key: str, file: Path) -> Rows:
    rows = table.get(key) if isinstance(table, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TrainingError(f"{shown(file.name)} has no list {key!r}; it is not in COCO form")
    return rows


def _unique(values: Iterable[Any], what: str, file: Path) -> None:
    seen = set()
    for value in values:
        if not _is_id(value) or value in seen:
            raise TrainingError(f"{shown(file.name)}: {what} {shown(value, 40)} is missing or given twice")
        seen.add(value)


def _captions(path: Path | None) -> dict[str, tuple[str, ...]]:
    table = _json(path) if path is not None else {}
    if not isinstance(table, dict) or not all(isinstance(lines, list) for lines in table.values()):
        raise TrainingError(f"{shown(path and path.name)} is not a table from image id to a list of captions")
    return {key: tuple(text.strip() for text in lines if isinstance(text, str)) for key, lines in table.items()}


def _extra_masks(path: Path | None) -> dict[int, Any]:
    rows = _rows(_json(path), "annotations", path) if path is not None else ()
    return {row["annotation_id"]: row.get("segmentation") for row in rows if "annotation_id" in row}
