"""A drawn COCO set: coloured photographs, boxes, polygons and masks, and honest detections of them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chiasm.evaluate.coco import CocoSet, read_coco
from chiasm.result import Object, Result
from chiasm_registry.geometry import Box, mask_to_rle
from chiasm_registry.outputs import Boxes, ScoredBox
from PIL import Image

NAMES = ("cat", "dog", "potted plant", "skis", "cup", "knife")
WIDTH, HEIGHT = 96, 64


def _box(rng: random.Random) -> list[float]:
    width, height = rng.uniform(6, 60), rng.uniform(6, 40)
    return [rng.uniform(0, WIDTH - width), rng.uniform(0, HEIGHT - height), width, height]


def _mask(bbox: list[float]) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    x, y, width, height = (int(part) for part in bbox)
    mask[y : y + height, x : x + width] = True
    return mask


def _segmentation(bbox: list[float], crowd: bool, form: int) -> Any:
    x, y, width, height = bbox
    if crowd:
        column_first = _mask(bbox).T.ravel()
        edges = np.flatnonzero(np.diff(column_first)) + 1
        runs = np.diff([0, *edges, column_first.size]).tolist()
        return {"size": [HEIGHT, WIDTH], "counts": [0, *runs] if column_first[0] else runs}
    if form:
        return dict(mask_to_rle(_mask(bbox)))
    return [[x, y, x + width, y, x + width, y + height], [x, y, x, y + height, x + width, y + height]]


@pytest.fixture
def drawn() -> Callable[..., tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Makes (annotation file, result rows with boxes and masks) from a seed."""

    def make(seed: int = 0, images: int = 12) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        rng = random.Random(seed)
        truth: dict[str, Any] = {
            "images": [
                {"id": 10 + i, "width": WIDTH, "height": HEIGHT, "file_name": f"{i}.png"} for i in range(images)
            ],
            "categories": [{"id": 3 * i, "name": name} for i, name in enumerate(NAMES)],
            "annotations": [],
        }
        rows = []
        for image in truth["images"]:
            for _ in range(rng.randint(0, 7)):
                bbox, crowd = _box(rng), rng.random() < 0.1
                category = 3 * rng.randrange(len(NAMES) - 1)  # the last name has no truth
                truth["annotations"].append({
                    "id": 100 + len(truth["annotations"]), "image_id": image["id"], "category_id": category,
                    "bbox": bbox, "area": bbox[2] * bbox[3], "iscrowd": int(crowd),
                    "segmentation": _segmentation(bbox, crowd, rng.randrange(2)),
                })
                for _ in range(rng.randint(0, 3)):
                    shaken = [part + rng.gauss(0, 2) for part in bbox[:2]] + bbox[2:]
                    rows.append({
                        "image_id": image["id"], "category_id": category, "bbox": shaken,
                        "segmentation": dict(mask_to_rle(_mask([max(0, p) for p in shaken]))),
                        "score": round(rng.random(), 2),  # equal scores test the order
                    })
        return truth, rows

    return make


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str, Any], Path]:
    """Writes a value as JSON under a name."""

    def write(name: str, value: Any) -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(value))
        return path

    return write


class Oracle:
    """A model that knows the truth (an image's id stands in its first pixel); `extra` is found in every picture too."""

    def __init__(self, truth: CocoSet, extra: str | None = None) -> None:
        self.names = {category.id: category.name for category in truth.categories}
        self.truth, self.extra, self.asked = truth, extra, 0

    def default_threshold(self, task: str) -> float:
        return 0.3

    def detect(self, images: list[Image.Image], names: list[str], **options: Any) -> list[Result]:
        self.asked += len(images)
        return [self._result(image, names) for image in images]

    def ask(self, images: list[Image.Image], prompts: list[str], *, threshold: float, tasks: Any) -> list[Result]:
        results = []
        for image, prompt in zip(images, prompts, strict=True):
            named = [name for name in self.names.values() if name in prompt]
            there = sorted({o.label for o in self._result(image, list(self.names.values())).objects})
            extra = [self.extra] if self.extra else []
            results.append(self._result(image, named or [*there, *extra]))
        return results

    def _result(self, image: Image.Image, names: list[str]) -> Result:
        image_id = image.getpixel((0, 0))[0]
        boxes: dict[str, list[Box]] = {name: [] for name in names}
        for annotation in self.truth.annotations:
            name = self.names[annotation.category_id]
            if annotation.image_id == image_id and not annotation.crowd and name in boxes:
                x, y, width, height = annotation.bbox_xywh
                boxes[name].append(Box(xyxy=(x, y, x + width, y + height)))
        if self.extra in boxes:
            boxes[self.extra].append(Box(xyxy=(0.0, 0.0, 9.0, 9.0)))
        low = {name: [*found, Box(xyxy=(0.0, 0.0, 5.0, 5.0))] for name, found in boxes.items()}
        scored = {n: [ScoredBox(box=b, score=0.9 if b in boxes[n] else 0.1) for b in found] for n, found in low.items()}
        return Result(
            objects=tuple(
                Object(label=name, score=one.score, box=one.box, task="detection")
                for name, items in scored.items()
                for one in items
            ),
            outputs={"detection": tuple(Boxes(phrase=name, items=tuple(s)) for name, s in scored.items())},
        )


@pytest.fixture
def photographed(
    drawn: Callable[..., Any], written: Callable[..., Path], tmp_path: Path
) -> tuple[CocoSet, Path, type[Oracle]]:
    """A drawn set, the folder of its photographs, and the class of a model that knows the truth."""
    value, _ = drawn(seed=3)
    truth = read_coco(written("truth.json", value))
    folder = tmp_path / "photos"
    folder.mkdir()
    for image in truth.images:
        Image.new("RGB", (WIDTH, HEIGHT), (image.id, 0, 0)).save(folder / str(image.file_name))
    return truth, folder, Oracle
