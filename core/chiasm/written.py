"""Boxes that a model writes as text, as official InternVL2 does: `<box>[[x0, y0, x1, y1]]</box>` in thousandths.

Nobody gave them a score, so they have none. What is no box is left out, and a notice says so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from chiasm_registry.geometry import Box
from chiasm_registry.outputs import Notice

from .answer import UNNAMED
from .result import Object, Result
from .routing.reading import Written

TASK = "text"  # the task of an object that no plugin found
_WHOLE = 1000  # of a side of the image
_FOUR = re.compile(r"\[\s*(\d{1,4})\s*,\s*(\d{1,4})\s*,\s*(\d{1,4})\s*,\s*(\d{1,4})\s*\]")


def with_written(result: Result, written: Sequence[Written], max_objects: int) -> Result:
    """The result with the objects that its answer wrote down, behind those that were found; at most `max_objects`."""
    if not written or result.size_hw is None:
        return result
    objects = [Object(label=w.phrase or UNNAMED, box=box, task=TASK, span=w.span) for w in written
               for box in _boxes(w.text, result.size_hw)]  # fmt: skip
    notices = list(result.notices)
    if bad := sum(not _boxes(w.text, result.size_hw) for w in written):
        notices.append(Notice(text=f"{bad} of {len(written)} boxes in the answer could not be read and were left out"))
    whole = (*result.objects, *objects)[: max(max_objects, len(result.objects))]
    return result.model_copy(update={"objects": whole, "notices": tuple(notices)})


def _boxes(text: str, size_hw: tuple[int, int]) -> list[Box]:
    """Every box in `text`, in pixels; one without an area is none."""
    height, width = size_hw
    found = []
    for numbers in _FOUR.findall(text):
        x0, y0, x1, y1 = (min(int(number), _WHOLE) for number in numbers)
        if x0 < x1 and y0 < y1:
            edges = (x0 * width, y0 * height, x1 * width, y1 * height)
            found.append(Box(xyxy=(edges[0] / _WHOLE, edges[1] / _WHOLE, edges[2] / _WHOLE, edges[3] / _WHOLE)))
    return found
