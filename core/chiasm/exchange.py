"""Results as the files of other tools: COCO's annotations, YOLO's segmentation labels, LabelMe's JSON.

The last two know polygons only: holes are filled, and an outline may be off by `TOLERANCE_PX`. An object without a mask
is given by its box.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from chiasm_registry.errors import InputError, shown, shown_path
from chiasm_registry.geometry import Mask

from .files import guarded_write, write_whole
from .polygons import Polygon, joined, mask_to_polygons, without_holes
from .result import Object, Result

TOLERANCE_PX = 0.75
FORMATS = ("coco", "yolo", "labelme")


def result_to_yolo(result: Result, names: Sequence[str]) -> str:
    """A line an object: its label's place in `names`, then x, y, ... of one polygon in shares of width and height.

    Pieces of one object are joined by bridges without width. An object whose label is not in `names` is refused.
    """
    height, width = _size_of(result)
    lines = []
    for thing in result.objects:
        if thing.label not in names:
            raise InputError(f"no class for {shown(thing.label)!r}; names must hold every label")
        polygons = _outlines(thing)
        if polygons:
            numbers = [f"{value:.6g}" for x, y in joined(polygons) for value in (x / width, y / height)]
            lines.append(" ".join([str(list(names).index(thing.label)), *numbers]))
    return "".join(f"{line}\n" for line in lines)


def result_to_labelme(result: Result, folder: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """LabelMe's object (version 5): a polygon a piece, those of one object under one `group_id`.

    LabelMe looks for the image from where the JSON lies: that is `folder`, or beside the image.
    """
    height, width = _size_of(result)
    shapes = []
    for number, thing in enumerate(result.objects):
        for polygon in _outlines(thing):
            shapes.append(
                {
                    "label": thing.label,
                    "points": [list(corner) for corner in polygon],
                    "group_id": number,
                    "description": "" if thing.score is None else f"score {thing.score:.4f}",
                    "shape_type": "polygon",
                    "flags": {},
                }
            )
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": _seen_from(folder, result.source) if result.source else "",
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def write_results(
    results: Mapping[str, Result],
    kind: str,
    folder: str | os.PathLike[str],
    *,
    keep: Iterable[str | os.PathLike[str]] = (),
) -> list[Path]:
    """Write results, by the name that their files shall have, as `kind` into `folder`; the files.

    Where one of them would replace a file of `keep`, nothing is written.
    """
    if kind not in FORMATS:
        raise InputError(f"no format {shown(kind, 40)!r}; there are {', '.join(FORMATS)}")
    folder = Path(folder)
    texts = _texts(results, kind, folder)
    kept = {os.path.realpath(path) for path in keep}
    for name in texts:
        if os.path.realpath(folder / name) in kept:
            raise InputError(f"'{shown_path(folder / name)}' is what is exported; write into another folder")
    with guarded_write(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        write_whole(folder / name, text.encode("utf-8"))
    return [folder / name for name in texts]


def _texts(results: Mapping[str, Result], kind: str, folder: Path) -> dict[str, str]:
    """By its name, what each file shall hold."""
    labels = list(dict.fromkeys(label for result in results.values() for label in result.labels))
    if kind == "coco":
        return {"annotations.json": json.dumps(_coco(results, labels))}
    if kind == "labelme":
        told = {name: result_to_labelme(result, folder) for name, result in results.items()}
        return {f"{name}.json": json.dumps(one, indent=1) for name, one in told.items()}
    texts = {f"{name}.txt": result_to_yolo(result, labels) for name, result in results.items()}
    if any(name.casefold() == "classes" for name in results):
        raise InputError("a result called 'classes' would replace YOLO's classes.txt; rename it")
    return {**texts, "classes.txt": "".join(f"{label}\n" for label in labels)}


def _coco(results: Mapping[str, Result], labels: Sequence[str]) -> dict[str, Any]:
    """A COCO annotation file."""
    files = _file_names(results)
    ids = {label: number for number, label in enumerate(labels, 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (name, result) in enumerate(results.items(), 1):
        height, width = _size_of(result)
        images.append({"id": number, "file_name": files[name], "height": height, "width": width})
        for record in result.to_coco(number, ids):
            box, mask = record["bbox"], record.get("segmentation")
            area = box[2] * box[3] if mask is None else Mask(rle=mask).area
            own = {"id": len(annotations) + 1, "iscrowd": 0, "area": area}
            annotations.append({**own, **record})
    categories = [{"id": number, "name": label} for label, number in ids.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def _file_names(results: Mapping[str, Result]) -> dict[str, str]:
    """By result, its image as seen from the folder that all images lie below; without an image file, its own name."""
    places = {name: _place(result.source) for name, result in results.items() if result.source}
    above = os.path.commonpath([os.path.dirname(place) for place in places.values()]) if places else ""
    names = {name: _seen_from(above, places[name]) if name in places else name for name in results}
    twice = [file for file, times in Counter(names.values()).items() if times > 1]
    if twice:
        raise InputError(f"two results are of the image '{shown_path(twice[0], 60)}'; export them one after the other")
    return names


def _seen_from(folder: str | os.PathLike[str] | None, source: str) -> str:
    place = _place(source)
    return Path(os.path.relpath(place, os.path.realpath(folder or os.path.dirname(place)))).as_posix()


def _place(source: str) -> str:
    """Where an image lies; its folder's links are followed, as `..` behind one would lead elsewhere."""
    if "\0" in source:
        raise InputError("the source of a result holds a NUL character, which no file has in its name; mend it")
    folder, name = os.path.split(os.path.abspath(source))
    return os.path.join(os.path.realpath(folder), name)


def _outlines(thing: Object) -> list[Polygon]:
    if thing.mask is not None:
        return mask_to_polygons(without_holes(thing.mask.numpy()), TOLERANCE_PX)[0]
    if thing.box is None:
        return []
    x0, y0, x1, y1 = thing.box.xyxy
    return [[(x0, y0), (x1, y0), (x1, y1), (x0, y1)]]


def _size_of(result: Result) -> tuple[int, int]:
    if result.size_hw is None:
        raise InputError("a result without an image has no outlines to export")
    return result.size_hw
