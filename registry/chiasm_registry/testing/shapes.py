"""Drawn pictures with what is in them: samples to train on, and a small COCO data set."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contract import Sample, SampleObject
from ..geometry import Mask, xyxy_to_xywh

if TYPE_CHECKING:
    from PIL.Image import Image

KINDS = ("red disc", "blue square", "green triangle")
ABSENT = "yellow star"
COLOURS = {"red disc": (210, 40, 40), "blue square": (50, 70, 210), "green triangle": (40, 160, 70)}


@dataclass(frozen=True)
class Drawn:
    """A picture and all that it shows, boxes and masks in its pixels."""

    picture: Image
    objects: tuple[SampleObject, ...]

    def sample(self, image_id: str, phrases: Sequence[str]) -> Sample:
        """What a task's `targets` would get if these phrases were asked of the picture."""
        names = [thing.name for thing in self.objects]
        return Sample(
            image_id=image_id,
            size_hw=(self.picture.height, self.picture.width),
            objects=self.objects,
            phrases=tuple(phrases),
            matches=tuple(tuple(k for k, name in enumerate(names) if name == phrase) for phrase in phrases),
            meanings=tuple((phrase,) for phrase in phrases),
        )


def draw_shapes(
    count: int, *, size_hw: tuple[int, int] = (128, 128), names: Sequence[str] = KINDS, seed: int = 0
) -> list[Drawn]:
    """`count` pictures, each with one to three of every kind; `names` is what the kinds are to be called."""
    dice = random.Random(seed)
    return [_drawn(dice, size_hw, dict(zip(KINDS, names, strict=True))) for _ in range(count)]


def write_coco(drawn: Sequence[Drawn], folder: Path) -> Path:
    """The pictures under `folder/images` and their annotations in `folder/instances.json`, whose path is returned."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    names = sorted({thing.name for one in drawn for thing in one.objects})
    rows: list[dict[str, Any]] = []
    for number, one in enumerate(drawn, 1):
        one.picture.save(images / f"{number:04}.png")
        for thing in one.objects:
            assert thing.mask is not None
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": number,
                    "category_id": names.index(thing.name) + 1,
                    "bbox": list(xyxy_to_xywh(thing.box_xyxy)),
                    "area": thing.mask.area,
                    "segmentation": dict(thing.mask.rle),
                    "iscrowd": 0,
                }
            )
    sizes = [{"width": one.picture.width, "height": one.picture.height} for one in drawn]
    described = {
        "images": [{"id": k, "file_name": f"{k:04}.png", **size} for k, size in enumerate(sizes, 1)],
        "annotations": rows,
        "categories": [{"id": k, "name": name} for k, name in enumerate(names, 1)],
    }
    path = folder / "instances.json"
    path.write_text(json.dumps(described), encoding="utf-8")
    return path


def _drawn(dice: random.Random, size_hw: tuple[int, int], names: dict[str, str]) -> Drawn:
    import numpy as np
    from PIL import Image, ImageDraw

    height, width = size_hw
    grey = dice.randint(150, 230)
    picture = Image.new("RGB", (width, height), (grey, grey, grey))
    seen: list[tuple[str, Any]] = []  # the kind, and where it is not covered by what was drawn later
    for kind in dice.sample(KINDS, len(KINDS)):
        for _ in range(dice.randint(1, 3)):
            stencil = Image.new("1", (width, height))
            _stamp(ImageDraw.Draw(stencil), kind, dice, size_hw)
            picture.paste(COLOURS[kind], mask=stencil)
            new = np.array(stencil)
            seen = [(other, mask & ~new) for other, mask in seen] + [(kind, new)]
    return Drawn(picture, tuple(_object(names[kind], mask) for kind, mask in seen if mask.any()))


def _stamp(pen: Any, kind: str, dice: random.Random, size_hw: tuple[int, int]) -> None:
    height, width = size_hw
    side = dice.uniform(0.15, 0.35) * min(size_hw)
    x, y = dice.uniform(0, width - side), dice.uniform(0, height - side)
    if kind == "red disc":
        pen.ellipse((x, y, x + side, y + side), fill=1)
    elif kind == "blue square":
        pen.rectangle((x, y, x + side, y + side), fill=1)
    else:
        pen.polygon([(x, y + side), (x + side / 2, y), (x + side, y + side)], fill=1)


def _object(name: str, pixels: Any) -> SampleObject:
    mask = Mask.from_numpy(pixels)
    box = mask.box()
    assert box is not None
    return SampleObject(name=name, box_xyxy=box.xyxy, mask=mask)
