"""Precision and recall of names, worked out by hand."""

from __future__ import annotations

import pytest
from chiasm.evaluate.routing import Heard, routing_figures


def _heard(wanted: str, found: str, routed: str = "", neutral: str = "", unread: bool = False) -> Heard:
    return Heard(frozenset(wanted), frozenset(neutral), frozenset(routed or found), frozenset(found), unread)


def test_figures_are_over_all_pairs() -> None:
    """Two images: three of four found names are right, three of five wanted names are found."""
    figures = routing_figures([_heard("abc", "abx", routed="abcx"), _heard("de", "d", unread=True)], "_likely")
    assert figures == {
        "precision_likely": pytest.approx(3 / 4),
        "recall_likely": pytest.approx(3 / 5),
        "routed_precision_likely": pytest.approx(4 / 5),
        "routed_recall_likely": pytest.approx(4 / 5),
        "false_hits_likely": pytest.approx(1 / 2),
        "parse_failures_likely": 1,
    }


def test_names_of_crowds_count_neither_way() -> None:
    """A name of which only a crowd is there is no false hit and nothing to find."""
    figures = routing_figures([_heard("a", "ac", neutral="c")])
    assert figures["precision"] == 1.0
    assert figures["recall"] == 1.0
    assert figures["false_hits"] == 0.0


def test_nothing_said_is_not_measurable() -> None:
    """Without any answer or any name the figure is None, never a division by zero and never -1."""
    assert routing_figures([])["precision"] is None
    assert routing_figures([_heard("a", "")])["precision"] is None
    assert routing_figures([_heard("a", "")])["recall"] == 0.0
