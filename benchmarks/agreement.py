"""How far two answers are from each other: their boxes, their scores, their labels. Plain numbers, no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import chiasm
from chiasm_registry import Box

SAME_THING = 0.5  # IoU from which on two boxes of a label can be one thing, as COCO's first threshold has it


@dataclass(frozen=True)
class Matched:
    """The IoU of each pair of boxes, and how many boxes of either side have no partner."""

    ious: tuple[float, ...]
    alone: int


def match(ours: Sequence[chiasm.Object], theirs: Sequence[chiasm.Object], *, scale: float = 1.0) -> Matched:
    """Pairs of boxes of the same label, the closest first; `theirs` are of a picture `scale` times as large."""
    mine = [(thing.label, thing.box.xyxy) for thing in ours if thing.box is not None]
    other = [(thing.label, _scaled(thing.box, 1 / scale)) for thing in theirs if thing.box is not None]
    near = [
        (iou(a, b), i, j)
        for i, (label, a) in enumerate(mine)
        for j, (named, b) in enumerate(other)
        if label == named and iou(a, b) >= SAME_THING
    ]
    taken_i: set[int] = set()
    taken_j: set[int] = set()
    ious = []
    for overlap, i, j in sorted(near, reverse=True):
        if i not in taken_i and j not in taken_j:
            taken_i.add(i)
            taken_j.add(j)
            ious.append(overlap)
    return Matched(tuple(ious), len(mine) + len(other) - 2 * len(ious))


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two xyxy boxes; 0 if both are empty."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    union = _area(a) + _area(b) - shared
    return shared / union if union > 0 else 0.0


def score_difference(ours: Sequence[float], theirs: Sequence[float], floor: float) -> float:
    """The largest difference of two lists of scores, best against best; one without a partner fell below `floor`."""
    count = max(len(ours), len(theirs))
    a, b = (sorted(scores, reverse=True) + [floor] * (count - len(scores)) for scores in (ours, theirs))
    return max((abs(x - y) for x, y in zip(a, b, strict=True)), default=0.0)


def same_words(ours: chiasm.Result, theirs: chiasm.Result) -> bool:
    """Whether two answers say the same: the text, and the labels in order."""
    return ours.text == theirs.text and [o.label for o in ours.objects] == [o.label for o in theirs.objects]


def box_difference_px(ours: chiasm.Result, theirs: chiasm.Result) -> float:
    """The largest distance of an edge between two answers that say the same."""
    pairs = zip(ours.objects, theirs.objects, strict=True)
    boxes = [(a.box.xyxy, b.box.xyxy) for a, b in pairs if a.box is not None and b.box is not None]
    return max((abs(p - q) for a, b in boxes for p, q in zip(a, b, strict=True)), default=0.0)


def _area(box_xyxy: Sequence[float]) -> float:
    return (box_xyxy[2] - box_xyxy[0]) * (box_xyxy[3] - box_xyxy[1])


def _scaled(box: Box, factor: float) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (value * factor for value in box.xyxy)
    return x0, y0, x1, y1
