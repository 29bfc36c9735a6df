"""Reading COCO result files: a list of scored boxes or masks, each of an image and a category that the truth has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chiasm_registry.errors import InputError, shown_path
from chiasm_registry.rle import Rle

from ..limits import LIMITS, Limits
from ..strict_json import read_json
from . import rows
from .coco import CocoSet
from .rows import Four, RowError, kind_of, read_rows
from .segments import result_mask


@dataclass(frozen=True, slots=True)
class Detection:
    """One scored answer; a box, a mask, or both."""

    image_id: int
    category_id: int
    score: float
    bbox_xywh: Four | None = None
    mask: Rle | None = None

    def row(self) -> dict[str, Any]:
        """The row of a COCO result file."""
        row: dict[str, Any] = {"image_id": self.image_id, "category_id": self.category_id}
        if self.bbox_xywh is not None:
            row["bbox"] = list(self.bbox_xywh)
        if self.mask is not None:
            row["segmentation"] = dict(self.mask)
        return {**row, "score": self.score}


def read_results(
    path: str | Path, truth: CocoSet, iou_type: str = "bbox", limits: Limits = LIMITS
) -> tuple[Detection, ...]:
    """A COCO result file for `truth`, checked; an InputError names file and index of what is wrong.

    An empty list is a legal result. Rows must be of one form; masks must be there when `iou_type` is "segm".
    """
    name = shown_path(path, 60)
    value = read_json(Path(path), limits)
    if not isinstance(value, list):
        raise InputError(f"{name}: results must be a list of objects, not {kind_of(value)}")
    reader = _Reader(truth, iou_type)
    return read_rows(value, name, "results", reader.read)


class _Reader:
    """Reads rows against one truth; the first row sets the form of all."""

    def __init__(self, truth: CocoSet, iou_type: str) -> None:
        self._images = {image.id: image for image in truth.images}
        self._names = {category.id: category for category in truth.categories}
        self._iou_type = iou_type
        self._form: tuple[bool, bool] | None = None

    def read(self, row: dict[str, Any]) -> Detection:
        image = rows.known(row, "image_id", self._images, "the truth's images")
        category = rows.known(row, "category_id", self._names, "the truth's categories")
        score = rows.number(rows.field(row, "score"), "score")
        if not 0 <= score <= 1:
            raise RowError(f"score must be from 0 to 1, not {score}")
        segmentation = row.get("segmentation")
        masked = segmentation is not None and segmentation != []  # both say that there is none, as in a truth
        self._check_form("bbox" in row, masked)
        bbox = rows.box_xywh(row["bbox"], image.size_hw) if "bbox" in row else None
        mask = result_mask(segmentation, image.size_hw) if masked else None
        return Detection(image.id, category.id, score, bbox, mask)

    def _check_form(self, box: bool, mask: bool) -> None:
        if not box and not mask:
            raise RowError("has neither 'bbox' nor 'segmentation'")
        if self._form not in (None, (box, mask)):
            raise RowError("has other fields than the rows before it; boxes and masks want a file each")
        if self._iou_type == "segm" and not mask:
            raise RowError("has no 'segmentation'; score boxes with --iou-type bbox")
        self._form = box, mask
