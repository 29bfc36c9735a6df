"""The grammar of an answer: what may come next, and what a complete answer means."""

from __future__ import annotations

import pytest
from chiasm.model import Model
from chiasm.routing.grammar import ROUNDS, AnswerState
from chiasm.routing.reading import read_answer
from core.tiny import tiny_model


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


def state(model: Model, tasks: tuple[str, ...] = ("detection", "level"), routes: int = 9) -> AnswerState:
    return AnswerState(model.network.rows, model.markers, tasks, routes)


def routed(model: Model, task: str) -> list[int]:
    return [model.network.rows.token_id(task), *model.network.rows.slot_ids(task)]


def test_what_is_legal_at_each_place(model: Model) -> None:
    """In text, in an empty phrase, in a phrase, behind it, behind a token's slots, behind all of them."""
    rows, m = model.network.rows, model.markers
    box, level, word = rows.token_id("detection"), rows.token_id("level"), 40
    now = state(model)
    seen = [set(now.allowed())]
    for token in (m.ref, word, m.unref):
        now.feed(token)
        seen.append(set(now.allowed()))
    assert seen == [{m.end, m.ref}, set(), {m.unref}, {m.end, m.ref, box, level}]
    now.feed(box)
    assert now.pending == rows.slot_ids("detection")
    for slot in rows.slot_ids("detection"):
        now.feed(slot)
    assert set(now.allowed()) == {m.end, m.ref, level}
    now.feed(word)
    assert set(now.allowed()) == {m.end, m.ref}


def test_what_would_name_a_routed_phrase_again_is_known(model: Model) -> None:
    """Only inside a phrase, only the token that completes one, and only of phrases that went to a task."""
    m = model.markers
    now = state(model, routes=5)
    for token in (m.ref, 40, 41, m.unref, *routed(model, "detection"), m.ref, 50, m.unref, 40):
        now.feed(token)
    assert now.repeating() == []
    now.feed(m.ref)
    assert now.repeating() == []  # 50 was not routed, and 40 alone completes nothing
    now.feed(40)
    assert now.repeating() == [41]
    now.feed(41)
    assert now.repeating() == []


def test_how_a_routed_phrase_of_several_words_begins_is_known_where_one_is_opened(model: Model) -> None:
    m = model.markers
    now = state(model, routes=5)
    for phrase in ([40, 41], [42], [40, 43]):
        for token in (m.ref, *phrase, m.unref, *routed(model, "detection")):
            assert now.resuming() == [] or token == phrase[0]
            now.feed(token)
    assert now.resuming() == []
    now.feed(m.ref)
    assert now.resuming() == [40]
    now.feed(40)
    assert now.resuming() == []


@pytest.mark.parametrize("circle", [[40], [40, 41], [40, 41, 42]])
def test_a_phrase_that_says_the_same_again_and_again_is_known(circle: list[int], model: Model) -> None:
    now = state(model)
    for token in circle * ROUNDS:
        now.feed(token)
    assert not now.circling()  # plain text may
    for token in (model.markers.ref, 60, *(circle * ROUNDS)[:-1]):
        now.feed(token)
        assert not now.circling()
    now.feed(circle[-1])
    assert now.circling()
    now.feed(model.markers.unref)
    assert not now.circling()


def test_no_route_is_granted_beyond_the_limit(model: Model) -> None:
    now = state(model, routes=1)
    for token in (model.markers.ref, 40, model.markers.unref, *routed(model, "detection")):
        now.feed(token)
    assert set(now.allowed()) == {model.markers.end}


def test_an_answer_is_read(model: Model) -> None:
    """Text without control tokens, phrases to the letter with their spans, the place of each route's first slot."""
    m, spell = model.markers, model.tokenizer.encode_user
    ids = [*spell("a "), m.ref, *spell("brown dog"), m.unref, *routed(model, "detection"), *routed(model, "level")]
    ids += [*spell(" and a "), m.ref, *spell("cup é"), m.unref, *routed(model, "level"), *spell(".")]
    text, heard = read_answer(ids, model.tokenizer, model.network.rows, m)
    assert text == "a brown dog and a cup é."
    assert [(one.task, one.phrase) for one in heard] == [
        ("detection", "brown dog"),
        ("level", "brown dog"),
        ("level", "cup é"),
    ]
    assert all(text[slice(*one.span)] == one.phrase for one in heard)
    for one in heard:
        slots = model.network.rows.slot_ids(one.task)
        assert ids[one.first_slot : one.first_slot + len(slots)] == slots


def test_a_phrase_goes_to_a_task_once(model: Model) -> None:
    """What is said again would give the same objects twice; another task, or another phrase, is another matter."""
    m, spell = model.markers, model.tokenizer.encode_user
    cup, cups = ([m.ref, *spell(word), m.unref] for word in ("cup", "cups"))
    ids = [*cup, *routed(model, "detection"), *cup, *routed(model, "detection"), *routed(model, "level")]
    ids += [*cups, *routed(model, "detection")]
    _, heard = read_answer(ids, model.tokenizer, model.network.rows, m)
    assert [(one.task, one.phrase, one.span) for one in heard] == [
        ("detection", "cup", (0, 3)),
        ("level", "cup", (3, 6)),
        ("detection", "cups", (6, 10)),
    ]


def test_phrases_without_a_route_are_text(model: Model) -> None:
    """A phrase that no task was asked for, and one that the length limit cut."""
    m, spell = model.markers, model.tokenizer.encode_user
    ids = [m.ref, *spell("dog"), m.unref, *spell(" or "), m.ref, *spell("ca")]
    assert read_answer(ids, model.tokenizer, model.network.rows, m) == ("dog or ca", [])


def test_an_empty_answer_says_nothing(model: Model) -> None:
    assert read_answer([], model.tokenizer, model.network.rows, model.markers) == ("", [])
