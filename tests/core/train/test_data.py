"""Promises of `chiasm.train.data` and `photos`: honest files become records, bad ones are named."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chiasm.train.data import BadSample, Record, read_records
from chiasm.train.photos import PhotoStore
from chiasm_registry import SampleObject
from chiasm_registry.errors import TrainingError
from PIL import Image

SIZE_HW = (40, 60)
SQUARE = [[10, 10, 30, 10, 30, 30, 10, 30]]


def coco(**changes: Any) -> dict[str, Any]:
    """Two photographs, a dog and a crowd of cups; `changes` go into the first annotation."""
    first = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 20, 20], "iscrowd": 0, "segmentation": SQUARE}
    second = {"id": 2, "image_id": 2, "category_id": 2, "bbox": [0, 0, 60, 40], "iscrowd": 1}
    images = [{"id": k, "file_name": f"{k}.png", "height": SIZE_HW[0], "width": SIZE_HW[1]} for k in (1, 2)]
    categories = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cup"}, {"id": 3, "name": "cat"}]
    return {"images": images, "categories": categories, "annotations": [first | changes, second]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0)
    for name in ("1.png", "2.png"):
        Image.fromarray(noise.integers(0, 256, (*SIZE_HW, 3), dtype=np.uint8)).save(tmp_path / name)
    return tmp_path


def read(folder: Path, table: Any, **options: Any) -> list[Record]:
    file = folder / "train.json"
    file.write_text(table if isinstance(table, str) else json.dumps(table))
    return read_records(file, folder, report=options.pop("report", lambda line: None), **options)


def test_boxes_become_xyxy_with_names_and_crowds(folder: Path) -> None:
    first, second = read(folder, coco())
    assert (first.image_id, first.size_hw, first.labelled) == ("1", SIZE_HW, {"cat", "cup", "dog"})
    assert first.objects == (SampleObject("dog", (10.0, 10.0, 30.0, 30.0)),)
    assert second.objects == (SampleObject("cup", (0.0, 0.0, 60.0, 40.0), crowd=True),)


def test_a_box_beyond_the_edge_by_rounding_is_clipped(folder: Path) -> None:
    first = read(folder, coco(bbox=[-0.4, 10, 60.9, 20]))[0]
    assert first.objects[0].box_xyxy == (0.0, 10.0, 60.0, 30.0)


BAD = {
    "NaN": {"bbox": [float("nan"), 0, 1, 1]},
    "infinite": {"bbox": [0, 0, 1e999, 1]},
    "text": {"bbox": ["0", 0, 1, 1]},
    "three numbers": {"bbox": [0, 0, 1]},
    "negative size": {"bbox": [5, 5, -2, 3]},
    "outside": {"bbox": [50, 10, 30, 5]},
    "unknown category": {"category_id": 9},
    "strange crowd": {"iscrowd": 2},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_a_bad_annotation_stops_with_the_image_named_or_is_skipped_with_a_line(
    folder: Path, change: dict[str, Any]
) -> None:
    table = json.dumps(coco(**change))
    with pytest.raises(BadSample, match="image 1: annotation 1") as caught:
        read(folder, table)
    assert caught.value.sample_id == "1"
    assert "\n" not in str(caught.value)
    lines: list[str] = []
    assert [record.image_id for record in read(folder, table, on_bad="skip", report=lines.append)] == ["2"]
    assert "image 1" in lines[0]
    assert "1 of 2" in lines[1]


@pytest.mark.parametrize("name", ["../1.png", "/etc/passwd", "", "gone.png", "a\nb.png", 7])
def test_a_file_name_that_leaves_the_folder_or_is_missing_is_a_bad_sample(folder: Path, name: object) -> None:
    table = coco()
    table["images"][0]["file_name"] = name
    with pytest.raises(BadSample, match="image 1"):
        read(folder, table)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"images": [NaN]}', '{"images": [3], "categories": [], "annotations": []}', "[" * 100_000]
)
def test_a_file_that_is_not_coco_is_one_line(folder: Path, text: str) -> None:
    with pytest.raises(TrainingError, match=r"^train\.json"):
        read(folder, text)


def test_a_key_given_twice_is_refused(folder: Path) -> None:
    with pytest.raises(TrainingError, match=r"^train\.json.*'iscrowd'.*twice"):
        read(folder, json.dumps(coco()).replace('"annotations": [{', '"annotations": [{"iscrowd": 1, "iscrowd": 0, '))


def test_ids_given_twice_and_annotations_of_no_image_are_refused(folder: Path) -> None:
    table = coco()
    table["images"][1]["id"] = 1
    with pytest.raises(TrainingError, match="image id 1"):
        read(folder, table)
    with pytest.raises(TrainingError, match="image 5"):
        read(folder, coco(image_id=5))


def test_partial_labels_name_what_is_known(folder: Path) -> None:
    table = coco()
    table["images"][0] |= {"neg_category_ids": [3], "not_exhaustive_category_ids": [1]}
    assert read(folder, table)[0].labelled == frozenset({"cat"})


def test_captions_and_extra_masks_are_joined_by_id(folder: Path) -> None:
    (folder / "captions.json").write_text(json.dumps({"1": [" A dog. "]}))
    extra = {"annotations": [{"annotation_id": 1, "segmentation": [[0, 0, 60, 0, 60, 40, 0, 40]]}]}
    (folder / "extra.json").write_text(json.dumps(extra))
    table = coco()
    del table["annotations"][0]["segmentation"]
    first = read(folder, table, captions=folder / "captions.json", extra_masks=folder / "extra.json")[0]
    assert first.captions == ("A dog.",)
    mask = first.mask(0)
    assert mask is not None
    assert mask.all()


def test_polygons_and_run_lengths_give_the_same_mask(folder: Path) -> None:
    polygon = read(folder, coco())[0].mask(0)
    assert polygon is not None
    flat: np.ndarray[Any, np.dtype[np.bool_]] = np.zeros(SIZE_HW, dtype=bool)
    flat[10:30, 10:30] = True
    runs = np.flatnonzero(np.diff(np.concatenate(([0], flat.ravel(order="F"), [0]))))
    counts = np.diff(np.concatenate(([0], runs, [flat.size]))).tolist()
    run_length = read(folder, coco(segmentation={"size": list(SIZE_HW), "counts": counts}))[0].mask(0)
    assert run_length is not None
    assert np.array_equal(run_length, flat)
    assert np.array_equal(polygon, flat)  # to the pixel, as COCO's own tools fill polygons


@pytest.mark.parametrize("segment", [[[1, 2, 3]], [[1e9] * 6], [["a"] * 6], {"size": [4, 4], "counts": "x"}, 5, {}])
def test_a_mask_that_does_not_fit_is_a_bad_sample(segment: object) -> None:
    record = Record("7", Path("x"), SIZE_HW, (SampleObject("dog", (0, 0, 9, 9)),), segments=(segment,))
    with pytest.raises(BadSample, match="image 7"):
        record.mask(0)


def test_the_store_holds_each_photograph_stretched(folder: Path) -> None:
    records = read(folder, coco())
    store = PhotoStore(records, size=32, workers=2)
    assert store.pixels is not None
    assert store.pixels.shape == (2, 3, 32, 32)
    square = Image.open(folder / "2.png").resize((32, 32), Image.Resampling.BICUBIC)
    assert torch.equal(store[1], torch.from_numpy(np.array(square)).permute(2, 0, 1))


def test_a_store_over_its_limit_gives_the_same_photographs_one_by_one(folder: Path) -> None:
    records = read(folder, coco())
    whole, lean = PhotoStore(records, size=32), PhotoStore(records, size=32, limit_gib=0.0)
    assert lean.pixels is None
    index = torch.tensor([1, 0, 1])
    pixels, positions = lean.batch(index)
    assert len(pixels) == 2
    kept, same = whole.batch(index)
    assert torch.equal(pixels[positions], kept[same])


@pytest.mark.parametrize("limit_gib", [8.0, 0.0])
def test_a_corrupt_photograph_is_named(folder: Path, limit_gib: float) -> None:
    records = read(folder, coco())
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:100])
    with pytest.raises(BadSample, match="image 2") as caught:
        PhotoStore(records, size=32, limit_gib=limit_gib)[1]
    assert pickle.loads(pickle.dumps(caught.value)).sample_id == "2"


def test_a_corrupt_photograph_is_left_out_where_the_run_says_so(folder: Path) -> None:
    records, told = read(folder, coco()), []
    whole = PhotoStore(records, size=32).pixels
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:100])
    store = PhotoStore(records, size=32, on_bad="skip", report=told.append)
    assert [record.image_id for record in store.records] == ["2"]
    assert whole is not None
    assert store.pixels is not None
    assert torch.equal(store.pixels, whole[1:])
    assert told == ["skipped image 1: 1.png cannot be read as an image"]
    (folder / "2.png").write_bytes(b"")
    with pytest.raises(TrainingError, match="no photograph of the set can be read"):
        PhotoStore(records, size=32, on_bad="skip")


def test_a_corrupt_photograph_is_left_out_where_none_is_kept(folder: Path) -> None:
    records, told = read(folder, coco()), []
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:100])
    store = PhotoStore(records, size=32, limit_gib=0.0, on_bad="skip", report=told.append)
    assert [record.image_id for record in store.records] == ["2"]
    assert told[-1] == "skipped image 1: 1.png cannot be read as an image"
    assert store[0].shape == (3, 32, 32)


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table["annotations"][0].update(image_id=[1]),
        lambda table: table["annotations"][0].update(category_id=[1]),
        lambda table: table["images"][0].update(neg_category_ids=3),
    ],
)
def test_an_id_that_is_none_is_named(folder: Path, change: Callable[[Any], None]) -> None:
    table = coco()
    change(table)
    with pytest.raises(TrainingError):
        read(folder, table)


def test_a_photograph_of_another_size_than_its_record_is_refused(folder: Path) -> None:
    records = read(folder, coco())
    Image.new("RGB", (5, 5)).save(folder / "1.png")
    with pytest.raises(BadSample, match="5 x 5"):
        PhotoStore(records, size=32)
