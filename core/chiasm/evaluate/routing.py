"""How well a model chooses its own names: precision and recall of names over (image, name) pairs; else None.

A name is *routed* when the answer sends it to the task, *found* when at least one of its objects reaches the task's
threshold. A phrase that is no category of the file counts as a wrong name of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Heard:
    """One answer, its phrases already matched to categories; an unmatched phrase stays as it is."""

    wanted: frozenset[str]  # names that were asked for and are there
    neutral: frozenset[str]  # names that are neither right nor wrong: only crowds of them are there
    routed: frozenset[str]
    found: frozenset[str]
    unread: bool  # no route where names were asked for, or a phrase that is no category


def routing_figures(answers: Iterable[Heard], suffix: str = "") -> dict[str, float | None]:
    """The flat figures of one kind of question, each key with `suffix`; `false_hits` are wrong names found an image."""
    heard = list(answers)
    precision, recall = _precision_recall([(answer, answer.found) for answer in heard])
    routed_precision, routed_recall = _precision_recall([(answer, answer.routed) for answer in heard])
    false_hits = sum(len(answer.found - answer.wanted - answer.neutral) for answer in heard)
    return {
        f"precision{suffix}": precision,
        f"recall{suffix}": recall,
        f"routed_precision{suffix}": routed_precision,
        f"routed_recall{suffix}": routed_recall,
        f"false_hits{suffix}": false_hits / len(heard) if heard else None,
        f"parse_failures{suffix}": sum(answer.unread for answer in heard),
    }


def _precision_recall(answers: list[tuple[Heard, frozenset[str]]]) -> tuple[float | None, float | None]:
    right = sum(len(said & answer.wanted) for answer, said in answers)
    said_all = sum(len(said - answer.neutral) for answer, said in answers)
    wanted = sum(len(answer.wanted) for answer, _ in answers)
    return right / said_all if said_all else None, right / wanted if wanted else None
