"""Promises of referring segmentation's measure: LISA's two figures, and a file that is checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chiasm.evaluate.referring import figures, measure_referring, overlap, read_referring
from chiasm_registry import InputError, Mask, Masks, ScoredMask
from PIL import Image

LEFT = np.zeros((20, 30), dtype=bool)
LEFT[:, :10] = True
WIDE = np.zeros((20, 30), dtype=bool)
WIDE[:, :20] = True


def test_an_empty_answer_to_an_empty_truth_counts_one() -> None:
    found = figures([overlap([], None), overlap([LEFT], None), overlap([], LEFT), overlap([WIDE], LEFT)])
    assert found["gIoU"] == pytest.approx((1 + 0 + 0 + 0.5) / 4)
    assert found["cIoU"] == pytest.approx(200 / (200 + 200 + 400))
    assert found["empty_requests"] == 2
    assert found["empty_answered_empty"] == 0.5


def test_several_masks_are_taken_together() -> None:
    right = WIDE & ~LEFT
    assert overlap([LEFT, right], WIDE).iou == 1.0


def test_nothing_anywhere_is_perfect() -> None:
    found = figures([overlap([], None)])
    assert (found["gIoU"], found["cIoU"]) == (1.0, 1.0)


def file_of(folder: Path, **changes: Any) -> Path:
    rows: dict[str, Any] = {
        "images": [{"id": 1, "file_name": "a.png", "height": 20, "width": 30}],
        "requests": [
            {"image_id": 1, "phrase": "the left one", "segmentation": dict(Mask.from_numpy(LEFT).rle)},
            {"image_id": 1, "phrase": "unicorn", "segmentation": None},
        ],
    }
    Image.new("RGB", (30, 20)).save(folder / "a.png")
    path = folder / "refer.json"
    path.write_text(json.dumps({**rows, **changes}))
    return path


class Fake:
    """Outlines the wide part for everything but unicorns."""

    def run(self, tasks: tuple[str, ...], picture: Image.Image, phrases: list[str]) -> Any:
        item = ScoredMask(mask=Mask.from_numpy(WIDE), score=0.5)
        outputs = [Masks(phrase=p, items=() if p == "unicorn" else (item,)) for p in phrases]
        return type("R", (), {"outputs": {tasks[-1]: tuple(outputs)}})()


def test_a_model_is_asked_every_phrase_of_its_image(tmp_path: Path) -> None:
    truth = read_referring(file_of(tmp_path))
    found = measure_referring(Fake(), truth, tmp_path)  # type: ignore[arg-type]
    assert found["gIoU"] == pytest.approx(0.75)
    assert found["cIoU"] == pytest.approx(0.5)
    assert (found["images"], found["requests"]) == (1, 2)


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([{"image_id": 2, "phrase": "a", "segmentation": None}], "image_id 2 is not in images"),
        ([{"image_id": 1, "phrase": " ", "segmentation": None}], "phrase must be text"),
        ([{"image_id": 1, "phrase": "a"}], "has no 'segmentation'"),
        ([{"image_id": 1, "phrase": "a", "segmentation": [[1, 2, 3, 4, 5, 6]]}], "run-length code or null"),
        ([{"image_id": 1, "phrase": "a", "segmentation": {"size": [3, 3], "counts": "9"}}], "size"),
        ([{"image_id": 1, "phrase": "a", "segmentation": None}] * 2, "stands twice"),
        ([{"image_id": 1, "phrase": "a" * 257, "segmentation": None}], r"requests\[0\]: phrase has 257 characters"),
        ([{"image_id": 1, "phrase": p, "segmentation": None} for p in ("\xe9", "e\u0301")], "have the same phrase"),
        ([], "holds no request"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, requests: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_referring(file_of(tmp_path, requests=requests))
    assert str(caught.value).isprintable()
