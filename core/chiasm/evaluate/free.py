"""Free evaluation: the model is asked in words and chooses its own names; boxes and names are both measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .coco import CocoSet
from .guided import Guided, best, detections, row_of
from .names import NameMatcher, packaged_synonyms
from .requests import Ask, Asker, NamesInImage
from .results import Detection
from .routing import Heard, routing_figures

if TYPE_CHECKING:
    from PIL import Image

    from ..model import Model
    from ..result import Result

Answers = Mapping[int, Mapping[str, Any]]


class Free:
    """Asks each image for some names and for everything, and the same names guided."""

    def __init__(
        self, model: Model, truth: CocoSet, asker: Asker, guided: Guided, tasks: tuple[str, ...], iou_type: str
    ) -> None:
        self._model, self._asker, self._guided, self._tasks, self._iou_type = model, asker, guided, tasks, iou_type
        self._ids = {category.name: category.id for category in truth.categories}
        self._match = NameMatcher(self._ids, packaged_synonyms())
        # Average precision needs the boxes below the threshold, "found" those above: one pass serves both.
        self._threshold = model.default_threshold(tasks[0]) or 0.0

    def answer(self, image_ids: Sequence[int], pictures: Sequence[Image.Image]) -> list[dict[str, Any]]:
        """For each picture what was said and found, and the asked names' rows in both modes."""
        asks = [ask for i in image_ids for ask in (self._asker.names(i), self._asker.everything(i))]
        doubled = [picture for picture in pictures for _ in range(2)]
        results = self._model.ask(doubled, [ask.prompt for ask in asks], threshold=0.0, tasks=self._tasks)
        answers = []
        for place, picture in enumerate(pictures):
            (names, everything), (said, listed) = asks[2 * place : 2 * place + 2], results[2 * place : 2 * place + 2]
            notices = [notice.text for result in (said, listed) for notice in result.notices]
            guided = self._guided.rows_for(picture, names.names) if names.names else []
            rows = self._rows(said, names)
            answer = {"names": self._heard(said, names), "everything": self._heard(listed, everything)}
            answers.append({**answer, "rows": rows, "guided": guided, "notices": notices})
        return answers

    def _heard(self, result: Result, ask: Ask) -> dict[str, Any]:
        routed = sorted({output.phrase for output in result.outputs.get(self._tasks[0], ())})
        found = {o.label for o in result.objects if o.score is None or o.score >= self._threshold}
        return {
            "prompt": ask.prompt, "asked": list(ask.names), "likely": ask.likely, "text": result.text,
            "routed": self._matched(routed), "found": self._matched(sorted(found)),
        }

    def _matched(self, phrases: Sequence[str]) -> list[list[str | None]]:
        """Pairs of what was said and the category that it means."""
        return [[phrase, self._match(phrase)] for phrase in phrases]

    def _rows(self, result: Result, ask: Ask) -> list[dict[str, Any]]:
        rows = []
        for thing in result.objects:
            name = self._match(thing.label)
            row = row_of(thing, self._ids[name], self._iou_type) if name in ask.names and name is not None else None
            rows += [row] if row is not None else []
        return best(rows)


def asked_pairs(answers: Answers, ids: Mapping[str, int]) -> set[tuple[int, int]]:
    """The (image id, category id) pairs that average precision is taken over."""
    return {(image_id, ids[name]) for image_id, answer in answers.items() for name in answer["names"]["asked"]}


def free_detections(answers: Answers, key: str) -> list[Detection]:
    """The asked names' detections: key "rows" as the model chose, "guided" with the names given."""
    return [found for image_id, answer in answers.items() for found in detections(image_id, answer[key])]


def routing_report(answers: Answers, truth: Mapping[int, NamesInImage]) -> dict[str, float | None]:
    """The flat routing figures: absent names random, `_likely`, and `_all` when everything was asked for."""
    random: list[Heard] = []
    likely: list[Heard] = []
    everything: list[Heard] = []
    for image_id, answer in answers.items():
        (likely if answer["names"]["likely"] else random).append(_names_heard(answer["names"], truth[image_id]))
        everything.append(_all_heard(answer["everything"], truth[image_id]))
    return {
        **routing_figures(random),
        **routing_figures(likely, "_likely"),
        **routing_figures(everything, "_all"),
    }


def _names_heard(said: Mapping[str, Any], truth: NamesInImage) -> Heard:
    wanted = frozenset(said["asked"]) & truth.present
    unread = not said["routed"] or any(name is None for _, name in said["routed"])
    return Heard(wanted, frozenset(), _said(said["routed"]), _said(said["found"]), unread)


def _all_heard(said: Mapping[str, Any], truth: NamesInImage) -> Heard:
    routed, found = _said(said["routed"]), _said(said["found"])
    names = {name for _, name in [*said["routed"], *said["found"]] if name is not None}
    unread = any(name is None for _, name in said["routed"])
    return Heard(truth.present, frozenset(names) - truth.present - truth.absent, routed, found, unread)


def _said(pairs: Sequence[Sequence[str | None]]) -> frozenset[str]:
    """Category names; a phrase that means none stands for itself, marked so that it can be none of them."""
    return frozenset(name if name is not None else f"no category: {phrase}" for phrase, name in pairs)
