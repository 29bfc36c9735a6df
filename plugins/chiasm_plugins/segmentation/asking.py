"""Routes as prompts: which masks a route asks for, in pixels of the view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chiasm_registry import Boxes, InputError, Route

from .sam import LOWER_RIGHT, UPPER_LEFT

Four = tuple[float, float, float, float]
Place = tuple[float, float, int]  # x, y in the view, and what is there (see sam.py)


@dataclass(frozen=True)
class Ask:
    """One mask that is asked for, in pixels of the view; `of` is the place of its box among those of the route.

    `given` is how sure its box is: 1 for a caller's own, else the score of what an earlier task found.
    """

    box: Four | None = None
    places: tuple[Place, ...] = ()  # points
    of: int | None = None
    given: float = 1.0
    heard: bool = True  # whether the phrase says anything

    @property
    def tokens(self) -> tuple[Place, ...]:
        """The points, and the box as its corners."""
        if self.box is None:
            return self.places
        x0, y0, x1, y1 = self.box
        return (*self.places, (x0, y0, UPPER_LEFT), (x1, y1, LOWER_RIGHT))


def asks_of(route: Route, present: float, size_hw: tuple[int, int], view: int) -> list[Ask]:
    """The masks a route asks for; none where an earlier task has looked for the phrase and found nothing.

    `present` is how likely the phrase is in the picture; a phrase alone that cannot reach its threshold asks nothing.
    """
    scale = (view / size_hw[1], view / size_hw[0])
    heard = bool(route.phrase.strip())
    places = tuple((x * scale[0], y * scale[1], label) for x, y, label in route.points)
    if route.boxes:
        boxes = [_scaled(box, scale) for box in route.boxes]
        own = [places if len(boxes) == 1 else _inside(places, box) for box in boxes]
        return [Ask(box, near, heard=heard) for box, near in zip(boxes, own, strict=True)]
    if places:
        return [Ask(None, places, heard=heard)]
    if not route.earlier:
        if not heard:
            raise InputError("nothing says what to segment; give a phrase, boxes or points")
        threshold = route.options.threshold if route.options is not None else 0.0
        return [Ask(None, given=present)] if present >= threshold else []
    earlier = next((output for output in route.earlier if isinstance(output, Boxes)), Boxes())
    found = [(k, item) for k, item in enumerate(earlier.items) if item.box.area > 0]
    scores = [1.0 if item.score is None else item.score for _, item in found]
    return [
        Ask(_scaled(item.box.xyxy, scale), of=k, given=score, heard=heard)
        for (k, item), score in zip(found, scores, strict=True)
    ]


def best_asks(asked: Sequence[Sequence[Ask]], most: int) -> list[list[Ask]]:
    """The masks of an image with at most `most` of boxes that another task found, the surest of all phrases.

    A result holds no more objects than that, and eighty phrases may have thousands of boxes that are hardly believed.
    """
    scores = sorted((ask.given for asks in asked for ask in asks if ask.of is not None), reverse=True)
    if len(scores) <= most:
        return [list(asks) for asks in asked]
    kept, room = [], most - sum(score > scores[most - 1] for score in scores)  # for those as sure as the last one
    for asks in asked:
        own = []
        for ask in asks:
            last = ask.of is not None and ask.given == scores[most - 1]
            if ask.of is None or ask.given > scores[most - 1] or (last and room > 0):
                own.append(ask)
                room -= last
        kept.append(own)
    return kept


def _scaled(box: Sequence[float], scale: tuple[float, float]) -> Four:
    x0, y0, x1, y1 = box
    return x0 * scale[0], y0 * scale[1], x1 * scale[0], y1 * scale[1]


def _inside(places: Sequence[Place], box: Four) -> tuple[Place, ...]:
    return tuple(p for p in places if box[0] <= p[0] <= box[2] and box[1] <= p[1] <= box[3])

