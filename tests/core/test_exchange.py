"""Promises of `polygons` and `exchange`: outlines that fill to the mask again, files that other tools read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from chiasm import Object, Result
from chiasm.cli.app import run
from chiasm.evaluate.coco import read_coco
from chiasm.exchange import result_to_labelme, result_to_yolo, write_results
from chiasm.polygons import joined, mask_to_polygons, without_holes
from chiasm_registry import Box, InputError, Mask
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageDraw

SIZE = (60, 80)


def filled(polygons: list[list[tuple[float, float]]], size_hw: tuple[int, int] = SIZE) -> np.ndarray:
    """The pixels whose middles lie inside, looked up in a drawing eight times as large."""
    canvas = Image.new("1", (8 * size_hw[1], 8 * size_hw[0]))
    draw = ImageDraw.Draw(canvas)
    for polygon in polygons:
        draw.polygon([(8 * x - 0.5, 8 * y - 0.5) for x, y in polygon], fill=1)
    return np.asarray(canvas, dtype=bool)[4::8, 4::8]


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def blob(x: float, y: float, rx: float, ry: float) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    return ((columns - x) / rx) ** 2 + ((rows - y) / ry) ** 2 < 1


ONE, TWO = blob(20, 20, 15, 12), blob(55, 40, 14, 16)


def result() -> Result:
    objects = (
        Object(label="dog", score=0.9, mask=Mask.from_numpy(ONE), task="segmentation"),
        Object(label="cat", score=None, mask=Mask.from_numpy(ONE | TWO), task="segmentation"),
        Object(label="cat", score=0.5, box=Box(xyxy=(5.0, 6.0, 30.0, 40.0)), task="detection"),
    )
    return Result(source="pictures/one.jpg", size_hw=SIZE, objects=objects)


def test_one_pixel_is_a_square_of_side_one() -> None:
    mask = np.zeros((4, 5), dtype=bool)
    mask[2, 3] = True
    (square,), holes = mask_to_polygons(mask)
    assert sorted(square) == [(3.0, 2.0), (3.0, 3.0), (4.0, 2.0), (4.0, 3.0)]
    assert holes == []


def test_pieces_holes_and_touching_corners_are_told_apart() -> None:
    mask = np.zeros((9, 9), dtype=bool)
    mask[0:5, 0:5] = True
    mask[2, 2] = False
    mask[5:7, 5:7] = True  # touches the first at a corner
    pieces, holes = mask_to_polygons(mask)
    assert [len(piece) for piece in pieces] == [4, 4]
    assert len(holes) == 1


@pytest.mark.parametrize("tolerance", [0.0, 0.75])
def test_outlines_fill_to_the_mask_again(tolerance: float) -> None:
    pieces, _ = mask_to_polygons(ONE | TWO, tolerance)
    assert overlap(filled(pieces), ONE | TWO) > 0.93
    assert overlap(filled([joined(pieces)]), ONE | TWO) > 0.9


def test_tolerance_leaves_out_corners() -> None:
    assert len(mask_to_polygons(ONE, 0.75)[0][0]) < 0.75 * len(mask_to_polygons(ONE)[0][0])


def of(mask: np.ndarray) -> Result:
    return Result(size_hw=mask.shape, objects=(Object(label="cup", mask=Mask.from_numpy(mask), task="segmentation"),))


@pytest.mark.parametrize("rows", [slice(7, 8), slice(7, 30)])
def test_what_is_one_pixel_wide_keeps_its_outline(rows: slice) -> None:
    """However large the tolerance is."""
    mask = np.zeros(SIZE, dtype=bool)
    mask[rows, 9] = True
    ((outline,), holes) = mask_to_polygons(mask, 5.0)
    assert (len(outline), holes) == (4, [])
    assert len(result_to_yolo(of(mask), ["cup"]).split()) == 9
    assert [len(shape["points"]) for shape in result_to_labelme(of(mask))["shapes"]] == [4]


def test_an_island_in_a_hole_is_filled_with_it() -> None:
    """Even where outlines inside one another cut each other out."""
    ring = blob(40, 30, 30, 25) & ~blob(40, 30, 20, 16)
    island = blob(40, 30, 8, 6) & ~blob(40, 30, 3, 2)
    whole = blob(40, 30, 30, 25) | (away := blob(4, 4, 3, 3))
    assert (without_holes(ring | island | away) == whole).all()
    numbers = [float(part) for part in result_to_yolo(of(ring | island | away), ["cup"]).split()[1:]]
    outline = [(x * SIZE[1], y * SIZE[0]) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
    assert overlap(filled([outline]), whole) > 0.95
    assert len(result_to_labelme(of(ring | island | away))["shapes"]) == 2


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_without_holes_there_is_no_hole_and_no_pixel_is_lost(mask: np.ndarray) -> None:
    full = without_holes(mask)
    assert (full | ~mask).all()
    assert mask_to_polygons(full)[1] == []


def test_nothing_has_no_outline() -> None:
    assert mask_to_polygons(np.zeros(SIZE, dtype=bool)) == ([], [])


def test_yolo_lines_are_read_back_by_supervision(tmp_path: Path) -> None:
    supervision = pytest.importorskip("supervision")
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "images" / "one.png")
    (tmp_path / "labels" / "one.txt").write_text(result_to_yolo(result(), ["dog", "cat"]))
    (tmp_path / "data.yaml").write_text("names: [dog, cat]\nnc: 2\n")
    data = supervision.DetectionDataset.from_yolo(
        str(tmp_path / "images"), str(tmp_path / "labels"), str(tmp_path / "data.yaml"), force_masks=True
    )
    ((_, _, found),) = list(data)
    assert found.class_id.tolist() == [0, 1, 1]
    assert overlap(found.mask[0], ONE) > 0.9
    assert overlap(found.mask[1], ONE | TWO) > 0.85


def test_labelme_keeps_the_pieces_of_one_thing_together() -> None:
    told = result_to_labelme(result())
    assert (told["imageHeight"], told["imageWidth"], told["imagePath"]) == (*SIZE, "one.jpg")
    assert [shape["group_id"] for shape in told["shapes"]] == [0, 1, 1, 2]
    again = filled([[(x, y) for x, y in shape["points"]] for shape in told["shapes"] if shape["group_id"] == 1])
    assert overlap(again, ONE | TWO) > 0.93


def test_coco_is_read_back_by_our_own_reader(tmp_path: Path) -> None:
    (path,) = write_results({"one": result()}, "coco", tmp_path)
    truth = read_coco(path)
    assert [category.name for category in truth.categories] == ["dog", "cat"]
    assert truth.annotations[1].mask == Mask.from_numpy(ONE | TWO).rle
    assert [annotation.area for annotation in truth.annotations] == [ONE.sum(), (ONE | TWO).sum(), 25 * 34]


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no class for 'dog'"):
        result_to_yolo(result(), ["cat"])
    with pytest.raises(InputError, match="no format 'voc'"):
        write_results({"one": result()}, "voc", tmp_path)
    with pytest.raises(InputError, match="without an image"):
        result_to_labelme(Result())


def test_the_command_writes_a_file_an_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.json").write_text(result().to_json())
    out = tmp_path / "out"
    assert run(["export", str(tmp_path / "one.json"), "--to", "yolo", "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["classes.txt", "one.txt"]
    assert run(["export", str(tmp_path / "one.json"), "--to", "labelme", "--out", str(out)]) == 0
    assert json.loads((out / "one.json").read_text())["version"] == "5.5.0"
    assert run(["export", str(tmp_path / "none.json"), "--to", "coco", "--out", str(out)]) == 2
    assert "none.json: no such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "kind", "fact"),
    [("one.json", "labelme", "is what is exported"), ("annotations.json", "coco", "is what is exported"),
     ("Classes.json", "yolo", "would replace YOLO's classes.txt")],
)  # fmt: skip
def test_what_is_exported_is_never_replaced(
    name: str, kind: str, fact: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By whatever way the folder is named; and nothing else is written then."""
    folder, same = tmp_path / "o", tmp_path / "same"
    folder.mkdir()
    same.symlink_to(folder)
    before = {file: result().model_copy(update={"source": file}).to_json() for file in ("a.json", name)}
    for file, text in before.items():
        (folder / file).write_text(text)
    files = [str(folder / file) for file in before]
    assert run(["export", *files, "--to", kind, "--out", str(same)]) == 2
    assert fact in capsys.readouterr().err
    assert {path.name: path.read_text() for path in folder.iterdir()} == before


def test_what_is_no_result_and_a_folder_that_cannot_be_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe that nobody writes to, a device without an end, a file where a folder should be."""
    good, bad, pipe, out = (tmp_path / name for name in ("one.json", "bad.json", "pipe.json", "out"))
    good.write_text(result().to_json())
    bad.write_text("{}")
    os.mkfifo(pipe)
    for path, fact in ((pipe, "not a regular file"), (Path("/dev/zero"), "not a regular file"), (bad, "bad.json: ")):
        assert run(["export", str(good), str(path), "--to", "coco", "--out", str(out)]) == 2
        assert fact in capsys.readouterr().err
    out.write_text("mine")
    for folder, fact in ((out, "File exists"), (out / "sub", "Not a directory")):
        assert run(["export", str(good), "--to", "coco", "--out", str(folder)]) == 2
        assert f"{folder.name}': {fact}" in capsys.readouterr().err
    assert out.read_text() == "mine"


def test_images_of_one_name_in_two_folders_stay_two(tmp_path: Path) -> None:
    """COCO names them from the folder that both lie below; our own reader takes the file."""
    one, two = (result().model_copy(update={"source": f"{tmp_path}/{name}/x.jpg"}) for name in ("a", "b"))
    (path,) = write_results({"x": one, "x-2": two}, "coco", tmp_path / "out")
    assert [image.file_name for image in read_coco(path).images] == ["a/x.jpg", "b/x.jpg"]
    (path,) = write_results({"x": one, "x-2": result().model_copy(update={"source": None})}, "coco", tmp_path / "out")
    assert [image.file_name for image in read_coco(path).images] == ["x.jpg", "x-2"]
    with pytest.raises(InputError, match=r"two results are of the image 'x\.jpg'"):
        write_results({"x": one, "x-2": one}, "coco", tmp_path / "out")
    with pytest.raises(InputError, match="NUL"):
        write_results({"x": result().model_copy(update={"source": "a\0b"})}, "coco", tmp_path / "out")


def test_labelme_finds_the_image_from_where_its_file_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the image and the folder were named, links included."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "one.jpg").touch()
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "near").symlink_to(tmp_path / "far" / "away")
    monkeypatch.chdir(tmp_path)
    for folder in ("pictures", "out", "near", tmp_path / "out" / "deep"):
        (path,) = write_results({"one": result()}, "labelme", folder)
        assert (path.parent / json.loads(path.read_text())["imagePath"]).samefile("pictures/one.jpg")
