"""What a phrase should have drawn, seen in a training image: what it means, and the things in view worth drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chiasm_registry import Sample
from chiasm_registry.contract import SampleObject

Box = tuple[float, float, float, float]
EDGE_PX = 2.0  # a box this near to the edge of the view is cut by it
CUT_PX = 200.0  # what is cut is worth drawing from this size on: its larger part is to be seen
COVERED = 0.45  # share of a box under smaller or equal boxes of others from which a thing is not seen well


@dataclass(frozen=True, eq=False)
class PictureTarget:
    """A phrase's truth: the names it stands for; and the same for all phrases of an image: what can be drawn.

    `stretch` is how many times wider than high a square of the view is in its photograph.
    """

    meaning: tuple[str, ...]  # () for a word that is none of the known names
    whole: tuple[SampleObject, ...]  # boxes in pixels of the view
    stretch: float = 1.0


def picture_targets(sample: Sample) -> Sequence[PictureTarget]:
    """A target for each of the sample's phrases."""
    whole = tuple(thing for at, thing in enumerate(sample.objects) if _is_whole(sample, at))
    return [PictureTarget(meaning, whole, sample.stretch) for meaning in sample.meanings]


def _is_whole(sample: Sample, at: int) -> bool:
    """Whether an object is one thing, mostly in view, and mostly not under others."""
    thing = sample.objects[at]
    x0, y0, x1, y1 = thing.box_xyxy
    high, wide = sample.size_hw
    cut = min(x0, y0) < EDGE_PX or x1 > wide - EDGE_PX or y1 > high - EDGE_PX
    if thing.crowd or (cut and max(x1 - x0, y1 - y0) < CUT_PX):
        return False
    others = (other.box_xyxy for k, other in enumerate(sample.objects) if k != at)
    area = (x1 - x0) * (y1 - y0)
    return sum(_shared(thing.box_xyxy, box) for box in others if _area(box) <= 1.5 * area) <= COVERED * area


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _shared(one: Box, other: Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return wide * high if wide > 0 and high > 0 else 0.0
