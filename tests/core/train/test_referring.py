"""Promises of `chiasm.train.referring`: a phrase for one thing means one, and a chain ends in the tasks it asks."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from chiasm.train.data import Record
from chiasm.train.mix import Mix
from chiasm.train.requests import Composer, Routed
from chiasm.train.shapes import Thing
from chiasm_registry import Masks, SampleObject, TaskSpec
from chiasm_registry.outputs import Boxes

NAMES = ("apple", "bird", "car", "cat", "cup", "dog")
FINDS = TaskSpec(name="finds", token="[A]", embeddings=1, output=Boxes, summary="s", phrasings=("Find {names}.",))
SHAPES = TaskSpec(
    name="shapes", token="[B]", embeddings=1, output=Masks, summary="s", after=("finds",),
    phrasings=("outline {names}", "cut {names} out", "what shape does {names} have"),
)


def thing(name: str, x: float, y: float, side: float = 40, quality: str = "", crowd: bool = False) -> Thing:
    box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    return Thing(name, box, crowd, quality=quality)


def composer(**mix: float) -> Composer:
    records = [record(tuple(SampleObject(name, (0, 0, 9, 9)) for name in NAMES))]
    return Composer(NAMES, records, Mix(**mix), 10, (FINDS, SHAPES))  # type: ignore[arg-type]


def record(objects: tuple[SampleObject, ...]) -> Record:
    return Record("1", Path("1.png"), (448, 448), objects)


def phrases(objects: list[Thing], count: int = 200) -> set[tuple[str, int]]:
    made = composer(guided_refer=8)
    found = set()
    for seed in range(count):
        request = made.compose(record(tuple(objects)), objects, random.Random(seed), "guided")
        own = [r for r in request.answer if isinstance(r, Routed) and len(r.matches) == 1]
        found |= {(r.phrase, r.matches[0]) for r in own if " " in r.phrase}
    return found


def test_left_and_right_are_those_of_the_picture() -> None:
    found = phrases([thing("dog", 100, 200), thing("dog", 300, 200)])
    assert {at for text, at in found if "left" in text} == {0}
    assert {at for text, at in found if "right" in text} == {1}


def test_what_is_nearly_as_far_left_is_not_told_apart() -> None:
    found = phrases([thing("dog", 200, 100), thing("dog", 220, 300)])
    assert not [text for text, _ in found if "left" in text or "right" in text]
    assert {at for text, at in found if "top" in text or "upper" in text} == {0}


def test_a_size_is_named_only_where_it_stands_out() -> None:
    assert not [text for text, _ in phrases([thing("cup", 100, 100, 40), thing("cup", 300, 110, 44)]) if "big" in text]
    found = phrases([thing("cup", 100, 100, 40), thing("cup", 300, 110, 90)])
    assert {at for text, at in found if "biggest" in text} == {1}
    assert {at for text, at in found if "smallest" in text} == {0}


def test_a_colour_is_named_only_where_all_colours_are_sure() -> None:
    sure = phrases([thing("apple", 100, 100, quality="red"), thing("apple", 120, 110, quality="green")])
    assert {at for text, at in sure if "red" in text} == {0}
    unsure = phrases([thing("apple", 100, 100, quality="red"), thing("apple", 120, 110)])
    assert not [text for text, _ in unsure if "red" in text]


def test_a_crowd_is_no_single_thing() -> None:
    found = phrases([thing("dog", 100, 200), thing("dog", 300, 200, crowd=True)])
    assert not [text for text, _ in found if "left" in text]


def test_nobody_points_to_what_is_hidden_nor_past_it() -> None:
    """A dog under a cut-out is not «the left dog», nor is the other then «the right» one, nor what a cup is beside."""
    dogs = [thing("dog", 50, 200), thing("dog", 400, 200)]
    assert {text for text, _ in phrases(dogs)}
    covered = [replace(dogs[0], hidden=0.5), dogs[1], thing("cup", 200, 200)]
    assert not phrases(covered)
    assert phrases([replace(dogs[0], hidden=0.2), dogs[1]])


def test_the_thing_is_asked_for_with_its_article_and_routed_to_the_letter() -> None:
    objects = [thing("dog", 100, 200), thing("dog", 300, 200)]
    made = composer()
    for seed in range(50):
        request = made.compose(record(tuple(objects)), objects, random.Random(seed), "refer")
        if request.kind != "refer":  # nothing was found to point to; a plain request is made
            continue
        (routed,) = [part for part in request.answer if isinstance(part, Routed)]
        assert request.prompt is not None
        assert routed.phrase in request.prompt
        assert len(routed.matches) == 1


@pytest.mark.parametrize("seed", range(40))
def test_a_chain_asks_first_and_then_routes_to_what_its_order_says(seed: int) -> None:
    objects = [thing("car", 300, 200), thing("cat", 100, 200), thing("cup", 200, 50), thing("cup", 210, 60)]
    request = composer().compose(record(tuple(objects)), objects, random.Random(seed), "chained")
    before, routed, behind = request.answer
    assert isinstance(routed, Routed)
    assert request.prompt is not None
    order = "outline" in request.prompt.lower() or "cut" in request.prompt.lower()
    assert routed.tasks == (("finds", "shapes") if order else ("finds",))
    if before == "The ":
        assert str(behind).startswith(" is ")
    else:
        assert str(before).startswith("There ")
