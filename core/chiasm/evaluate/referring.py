"""Referring segmentation: one phrase, one mask of all that it means, maybe nothing; gIoU and cIoU as LISA has them.

gIoU is the mean of every request's IoU, cIoU all intersections by all unions (Lai et al., LISA, 2024). A request whose
truth is empty counts 1 in gIoU if nothing was shown for it, else 0. A result is the union of the masks of its phrase.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chiasm_registry.errors import InputError, shown_path
from chiasm_registry.rle import Rle, rle_to_mask

from ..limits import LIMITS, Limits
from ..strict_json import parse_json, read_bytes
from . import rows
from .asked import check_asked
from .coco import CocoImage, CocoSet, read_image
from .photos import find_photos, open_photo
from .rows import RowError, read_rows, refuse_twice
from .segments import own_rle

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from ..model import Model

    Bits = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Referral:
    """A phrase and the mask of what it means in one image; None where it means nothing there."""

    image_id: int
    phrase: str
    mask: Rle | None


@dataclass(frozen=True, slots=True)
class ReferringSet:
    """A checked file of requests."""

    name: str
    images: tuple[CocoImage, ...]
    requests: tuple[Referral, ...]


@dataclass(frozen=True, slots=True)
class Overlap:
    """One request's pixels: shared by truth and result, in either of them, in the truth."""

    shared: int
    either: int
    true: int

    @property
    def iou(self) -> float:
        """1 where both are empty."""
        return 1.0 if self.either == 0 else self.shared / self.either


def read_referring(path: str | Path, limits: Limits = LIMITS) -> ReferringSet:
    """A file of `images` (id, file_name, height, width) and `requests` (image_id, phrase, segmentation).

    `segmentation` is a run-length code of the image's size, or null where the phrase means nothing there. An InputError
    names file, list and index of what is wrong.
    """
    name = shown_path(Path(path), 60)
    value = parse_json(read_bytes(Path(path), limits), name, limits)
    if not isinstance(value, dict) or not {"images", "requests"} <= value.keys():
        raise InputError(f"{name}: must be an object with images and requests")
    images = read_rows(value["images"], name, "images", read_image)
    refuse_twice((image.id for image in images), name, "image id")
    known = {image.id: image for image in images}

    def read(row: dict[str, Any]) -> Referral:
        image, phrase = rows.known(row, "image_id", known, "images"), rows.text(row, "phrase")
        mask = rows.field(row, "segmentation")
        if mask is not None and not isinstance(mask, dict):
            raise RowError(f"segmentation must be a run-length code or null, not {rows.kind_of(mask)}")
        return Referral(image.id, phrase, None if mask is None else own_rle(mask, image.size_hw))

    requests = read_rows(value["requests"], name, "requests", read)
    if not requests:
        raise InputError(f"{name}: holds no request")
    refuse_twice(((one.image_id, one.phrase) for one in requests), name, "request")
    check_asked(name, "requests", "phrase", ((one.image_id, one.phrase) for one in requests))
    return ReferringSet(name, images, requests)


def measure_referring(
    model: Model,
    truth: ReferringSet,
    folder: Path,
    tasks: Sequence[str] = ("segmentation",),
    *,
    limit: int | None = None,
    skip_missing: bool = False,
    advance: Callable[[int], None] = lambda images: None,
) -> dict[str, Any]:
    """Ask every phrase of its image, guided; `report`'s object. The masks are those of the last of `tasks`."""
    chosen = CocoSet(truth.name, "", truth.images[:limit], (), ())
    photos, faults = find_photos(chosen, folder, skip_missing=skip_missing)
    by_image: dict[int, list[Referral]] = defaultdict(list)
    for one in truth.requests:
        by_image[one.image_id].append(one)
    overlaps: list[Overlap] = []
    for photo in photos:
        asked = by_image[photo.image.id]
        advance(1)
        if not asked:
            continue
        if (picture := open_photo(photo, faults, skip_missing=skip_missing)) is not None:
            overlaps += _overlaps(model, picture, asked, tasks)
    if not overlaps:
        raise InputError(f"{truth.name}: none of the chosen images has a request")
    counts = {"images": len(chosen.images) - len(faults), "skipped": len(faults)}
    return {"mode": "referring", **counts, "tasks": list(tasks), **figures(overlaps)}


def _overlaps(model: Model, picture: Image.Image, asked: Sequence[Referral], tasks: Sequence[str]) -> list[Overlap]:
    result = model.run(tuple(tasks), picture, [one.phrase for one in asked])
    shown = {output.phrase: output for output in result.outputs.get(tasks[-1], ())}
    found = []
    for one in asked:
        output = shown.get(one.phrase)
        masks = [f.mask.numpy() for f in output.found() if f.mask is not None] if output is not None else []
        found.append(overlap(masks, None if one.mask is None else rle_to_mask(one.mask)))
    return found


def overlap(masks: Sequence[Bits], truth: Bits | None) -> Overlap:
    """The union of some masks held against the truth, (h, w) bool each; None is an empty truth."""
    import numpy as np

    empty = np.zeros((1, 1), dtype=bool)
    union: Bits = np.logical_or.reduce(masks) if masks else empty
    whole = empty if truth is None else truth
    return Overlap(int((union & whole).sum()), int((union | whole).sum()), int(whole.sum()))


def figures(overlaps: Sequence[Overlap]) -> dict[str, Any]:
    """gIoU, cIoU and how many requests mean nothing, with the share of these that showed nothing (null without any)."""
    either = sum(one.either for one in overlaps)
    empty = [one for one in overlaps if one.true == 0]
    return {
        "requests": len(overlaps),
        "gIoU": sum(one.iou for one in overlaps) / len(overlaps),
        "cIoU": sum(one.shared for one in overlaps) / either if either else 1.0,
        "empty_requests": len(empty),
        "empty_answered_empty": sum(one.either == 0 for one in empty) / len(empty) if empty else None,
    }


def as_text(report: dict[str, Any]) -> str:
    """The report for people."""
    from .report import figure

    counts = [report[name] for name in ("requests", "images", "empty_requests")]
    lines = ["{} requests on {} images, {} mean nothing there".format(*counts)]
    lines += [f"  {name:<22} {figure(report[name])}" for name in ("gIoU", "cIoU", "empty_answered_empty")]
    return "\n".join(lines)
