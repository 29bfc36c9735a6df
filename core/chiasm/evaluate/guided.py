"""Guided evaluation: every category name of the file is asked of every image, no threshold, the best hundred count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .coco import CocoSet
from .results import Detection

if TYPE_CHECKING:
    from PIL import Image

    from ..model import Model
    from ..result import Object, Result

TOP = 100  # detections of an image, as COCO counts


class Guided:
    """Asks a model for given names and keeps its answers as COCO rows."""

    def __init__(self, model: Model, truth: CocoSet, tasks: tuple[str, ...], iou_type: str) -> None:
        self._model, self._tasks, self._iou_type = model, tasks, iou_type
        self._ids = {category.name: category.id for category in truth.categories}

    def answer(self, image_ids: Sequence[int], pictures: Sequence[Image.Image]) -> list[dict[str, Any]]:
        """For each picture its rows for all names, and what the model had to note."""
        return [
            {"rows": self._rows(result.objects), "notices": [notice.text for notice in result.notices]}
            for result in self._ask(pictures, list(self._ids))
        ]

    def rows_for(self, picture: Image.Image, names: Sequence[str]) -> list[dict[str, Any]]:
        """One picture's rows for some of the names."""
        return self._rows(self._ask([picture], list(names))[0].objects)

    def _ask(self, pictures: Sequence[Image.Image], names: list[str]) -> Sequence[Result]:
        results: list[Result]
        if self._tasks == ("detection",):
            results = self._model.detect(list(pictures), names, threshold=0.0, max_objects=TOP)
        else:
            results = self._model.run(self._tasks, list(pictures), names, threshold=0.0)
        return results

    def _rows(self, objects: Iterable[Object]) -> list[dict[str, Any]]:
        rows = [row_of(thing, self._ids[thing.label], self._iou_type) for thing in objects if thing.label in self._ids]
        return best([row for row in rows if row is not None])


def row_of(thing: Object, category_id: int, iou_type: str) -> dict[str, Any] | None:
    """An object as a COCO row without its image; None when it has no box (or mask) to score. No score counts as 1."""
    row: dict[str, Any] = {"category_id": category_id, "score": 1.0 if thing.score is None else thing.score}
    if iou_type == "segm":
        return None if thing.mask is None else {**row, "segmentation": dict(thing.mask.rle)}
    if thing.box is None:
        return None
    x0, y0, x1, y1 = thing.box.xyxy
    return {**row, "bbox": [x0, y0, x1 - x0, y1 - y0]}


def best(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The hundred rows with the highest scores, equal ones in their order."""
    return sorted(rows, key=lambda row: -row["score"])[:TOP]


def detections(image_id: int, rows: Iterable[dict[str, Any]]) -> list[Detection]:
    """Rows of one image as detections."""
    return [
        Detection(image_id, row["category_id"], row["score"], _four(row.get("bbox")), row.get("segmentation"))
        for row in rows
    ]


def _four(bbox: Sequence[float] | None) -> tuple[float, float, float, float] | None:
    return None if bbox is None else (bbox[0], bbox[1], bbox[2], bbox[3])
