"""A result for other programs: COCO records, `supervision.Detections`, files, crops."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chiasm_registry.errors import InputError, shown
from chiasm_registry.geometry import clip_xyxy, xyxy_to_xywh

from .files import write_whole
from .result import Object, Result

if TYPE_CHECKING:
    import supervision
    from chiasm_registry.geometry import Box
    from PIL import Image

    from .images.open import ImageSource

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def result_to_coco(result: Result, image_id: int, category_ids: Mapping[str, int] | None) -> list[dict[str, Any]]:
    """COCO detections of every object with a box or a mask, in order."""
    if category_ids is not None and not isinstance(category_ids, Mapping):
        kind = shown(type(category_ids).__name__, 40)
        raise InputError(f"category_ids maps each label to its id, as a dict; {kind} does not")
    ids = category_ids if category_ids is not None else {label: n for n, label in enumerate(result.labels, 1)}
    records = []
    for thing, box in _placed(result):
        if thing.label not in ids:
            raise InputError(f"no category id for {shown(thing.label)!r}; give category_ids one for each label")
        record: dict[str, Any] = {"image_id": image_id, "category_id": ids[thing.label]}
        record["bbox"] = list(xyxy_to_xywh(box.xyxy))
        if thing.mask is not None:
            record["segmentation"] = dict(thing.mask.rle)
        if thing.score is not None:  # COCO's scorer wants one, but an invented score would be scored too
            record["score"] = thing.score
        records.append(record)
    return records


def result_to_supervision(result: Result) -> supervision.Detections:
    """`supervision.Detections` of every object with a box or a mask; masks only when at least one object has one."""
    try:
        import supervision
    except ImportError:
        raise InputError("to_supervision() needs supervision; run: pip install 'chiasm[supervision]'") from None
    import numpy as np

    placed = _placed(result)
    if not placed:
        empty = supervision.Detections.empty()
        empty.data["class_name"] = np.array([], dtype=str)  # who reads the names need not ask whether there are any
        return empty
    labels = result.labels
    masks = None
    sizes = {thing.mask.size_hw for thing, _ in placed if thing.mask is not None}
    if len(sizes) > 1:
        raise InputError("the masks of this result have several sizes; make each of the image's size")
    if sizes:
        (size_hw,) = sizes
        masks = np.stack([np.zeros(size_hw, bool) if o.mask is None else o.mask.numpy() for o, _ in placed])
    return supervision.Detections(
        xyxy=np.array([box.xyxy for _, box in placed], dtype=np.float64),
        mask=masks,
        confidence=np.array([math.nan if o.score is None else o.score for o, _ in placed], dtype=np.float64),
        class_id=np.array([labels.index(o.label) for o, _ in placed]),
        data={"class_name": np.array([o.label for o, _ in placed])},
    )


def crop_objects(result: Result, image: Image.Image) -> list[Image.Image]:
    """The pixels each object's box touches; a box outside of the image gives its nearest pixel."""
    return [image.crop(_pixels(box, image)) for _, box in _placed(result)]


def save_result(result: Result, path: str | os.PathLike[str], image: ImageSource | None) -> None:
    """The picture or the JSON, written whole or not at all."""
    if _ending(path) == ".json":
        write_whole(path, (result.to_json(indent=2) + "\n").encode())
    else:
        picture_format(path, ".json")
        made = result.pictures if image is None and result.size_hw is None else ()  # no image was involved
        save_picture(made[0].image if made else result.plot(image), path)


def save_picture(picture: Image.Image, path: str | os.PathLike[str]) -> None:
    """A PIL image in the format of the path's ending, written whole or not at all."""
    kind, buffer = picture_format(path), io.BytesIO()
    try:
        picture.save(buffer, kind, quality=92)
    except Exception as error:  # JPEG and WEBP have a longest side, and Pillow an exception for each
        size = f"{picture.width}x{picture.height}"
        raise InputError(f"a picture of {size} pixels cannot be saved as {kind}; save it as .png") from error
    write_whole(path, buffer.getvalue())


def picture_format(path: str | os.PathLike[str], *others: str) -> str:
    """PIL's name for the path's ending; an InputError lists the endings there are, `others` among them."""
    ending = _ending(path)
    if ending not in _FORMATS:
        raise InputError(f"cannot save as {shown(ending)!r}; use one of {' '.join([*_FORMATS, *others])}")
    return _FORMATS[ending]


def _ending(path: object) -> str:
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    if not isinstance(path, str):
        kind = shown(type(path).__name__, 40)
        raise InputError(f"a result is saved under a path, a str or a pathlib.Path, not {kind}")
    return Path(path).suffix.lower()


def _placed(result: Result) -> list[tuple[Object, Box]]:
    return [(thing, box) for thing in result.objects if (box := thing.place()) is not None]


def _pixels(box: Box, image: Image.Image) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = clip_xyxy(box.xyxy, (image.height, image.width))
    left, top = min(int(x0), image.width - 1), min(int(y0), image.height - 1)
    return left, top, max(math.ceil(x1), left + 1), max(math.ceil(y1), top + 1)
