"""Outputs are the same up to rounding, which may turn the order of items of nearly equal score, and nothing else."""

from __future__ import annotations

import re

import pytest
from chiasm_registry import Box, Boxes, Output, ScoredBox
from chiasm_registry.testing.compare import NEAR, difference

LEFT, RIGHT, BELOW = (0.0, 0.0, 20.0, 20.0), (40.0, 0.0, 60.0, 20.0), (0.0, 40.0, 20.0, 60.0)
Item = tuple[tuple[float, float, float, float], float | None]


def boxes(*items: Item) -> Boxes:
    return Boxes(items=tuple(ScoredBox(box=Box(xyxy=xyxy), score=score) for xyxy, score in items))


def test_items_of_nearly_equal_score_may_change_places() -> None:
    one = boxes((LEFT, 0.5), (RIGHT, 0.5), (BELOW, 0.5 - NEAR / 2))
    other = boxes((BELOW, 0.5), (LEFT, 0.5 - NEAR / 4), (RIGHT, 0.5 - NEAR / 4))
    assert difference(one, other) is None
    assert difference(other, one) is None


FAULTS: dict[str, tuple[Boxes, Boxes, str]] = {
    "scores that differ": (
        boxes((LEFT, 0.52), (RIGHT, 0.5)), boxes((RIGHT, 0.5), (LEFT, 0.52)), r"items\.0\.box\.xyxy\.0 is 0 and 40",
    ),
    "scores that stayed": (
        boxes((LEFT, 0.52), (RIGHT, 0.5)), boxes((RIGHT, 0.52), (LEFT, 0.5)), r"items\.0\.box\.xyxy\.0 is 0 and 40",
    ),
    "a step too far": (  # each is near the next, the first and the last are not
        boxes((LEFT, 0.5), (RIGHT, 0.5 - 0.8 * NEAR), (BELOW, 0.5 - 1.6 * NEAR)),
        boxes((BELOW, 0.5 - 0.8 * NEAR), (RIGHT, 0.5 - 0.8 * NEAR), (LEFT, 0.5 - 0.8 * NEAR)),
        r"items\.0\.box",
    ),
    "another box": (
        boxes((LEFT, 0.5), (RIGHT, 0.5)), boxes((RIGHT, 0.5), (BELOW, 0.5)), r"items\.0\.box\.xyxy\.0 is 0 and 40",
    ),
    "one of them twice": (
        boxes((LEFT, 0.5), (RIGHT, 0.5)), boxes((RIGHT, 0.5), (RIGHT, 0.5)), r"items\.0\.box\.xyxy\.0 is 0 and 40",
    ),
    "one is missing": (boxes((LEFT, 0.5), (RIGHT, 0.5)), boxes((LEFT, 0.5)), "has 2 and 1 items"),
    "another score": (boxes((LEFT, 0.5)), boxes((LEFT, 0.5 + 2 * NEAR)), r"items\.0\.score is 0\.5 and 0\.502"),
    "no score": (boxes((LEFT, None), (RIGHT, None)), boxes((RIGHT, None), (LEFT, None)), r"items\.0\.box"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_anything_else_is_a_difference(case: str) -> None:
    one, other, said = FAULTS[case]
    fault = difference(one, other)
    assert fault is not None
    assert re.search(said, fault)


def test_where_nothing_is_rounded_the_order_counts() -> None:
    fault = difference(boxes((LEFT, 0.5), (RIGHT, 0.5)), boxes((RIGHT, 0.5), (LEFT, 0.5)), near=0)
    assert fault is not None


class Reading(Output):
    """Numbers in an order that means something."""

    levels: tuple[float, ...]


def test_numbers_without_a_score_keep_their_order() -> None:
    assert difference(Reading(levels=(1.0, 2.0)), Reading(levels=(1.0 + NEAR / 2, 2.0))) is None
    assert difference(Reading(levels=(1.0, 2.0)), Reading(levels=(2.0, 1.0))) == "Reading.levels.0 is 1 and 2"
