"""Boxes written as text: `<ref>cat</ref><box>[[x0, y0, x1, y1]]</box>` comes back as objects without a score."""

from __future__ import annotations

import pytest
from chiasm.assemble import markers_of
from chiasm.result import Result
from chiasm.routing.grammar import AnswerState
from chiasm.routing.reading import read_whole
from chiasm.written import with_written
from core.tiny import tiny_model

MODEL = tiny_model()
MARKERS = markers_of(MODEL.tokenizer, MODEL.template, text_boxes=True)


def ids_of(answer: str) -> list[int]:
    return MODEL.tokenizer.encode_template(answer)


def objects_of(answer: str, size_hw: tuple[int, int] = (200, 400), most: int = 100) -> Result:
    reader = read_whole(ids_of(answer), MODEL.tokenizer, MODEL.network.rows, MARKERS)
    return with_written(Result(text=reader.text, size_hw=size_hw), reader.written, most)


def test_a_written_box_is_an_object_in_pixels_without_a_score() -> None:
    result = objects_of("a <ref>red bus</ref><box>[[100, 250, 500, 1000]]</box> and more")
    assert result.text == "a red bus and more"
    (thing,) = result.objects
    assert (thing.label, thing.score, thing.task, thing.span) == ("red bus", None, "text", (2, 9))
    assert thing.box is not None
    assert thing.box.xyxy == (40.0, 50.0, 200.0, 200.0)


def test_several_boxes_of_several_phrases_come_in_order() -> None:
    result = objects_of("<ref>dog</ref><box>[[0,0,10,10],[20, 20, 30, 30]]</box><ref>cup</ref><box>[[1,2,3,4]]</box>")
    assert [thing.label for thing in result.objects] == ["dog", "dog", "cup"]
    assert result.text == "dogcup"
    assert [t.label for t in objects_of("<ref>dog</ref><box>[[0,0,9,9],[0,0,8,8]]</box>", most=1).objects] == ["dog"]


def test_a_box_without_a_phrase_has_a_general_name() -> None:
    (thing,) = objects_of("<box>[[0, 0, 1000, 1000]]</box>").objects
    assert (thing.label, thing.span) == ("object", None)


@pytest.mark.parametrize("written", ["", "[[1,2,3]]", "[[5,5,5,9]]", "[[9,9,1,1]]", "cat", "[[-1,0,5,5]]"])
def test_what_is_no_box_is_left_out_and_said(written: str) -> None:
    result = objects_of(f"<ref>dog</ref><box>{written}</box>")
    assert result.objects == ()
    assert [notice.text for notice in result.notices] == [
        "1 of 1 boxes in the answer could not be read and were left out"
    ]


def test_an_unfinished_box_stays_in_the_text() -> None:
    result = objects_of("<ref>dog</ref><box>[[1,2,")
    assert (result.objects, result.notices, result.text) == ((), (), "dog[[1,2,")


def test_the_grammar_lets_a_box_begin_and_end_where_it_may() -> None:
    network, m = MODEL.network, MARKERS
    state = AnswerState(network.rows, m, ["detection"], 5)
    assert m.box in set(state.allowed())
    assert m.unbox not in set(state.allowed())
    state.feed(m.ref)
    state.feed(ids_of("dog")[0])
    assert m.box not in set(state.allowed())
    state.feed(m.unref)
    assert {m.box, network.rows.token_id("detection")} <= set(state.allowed())
    state.feed(m.box or 0)
    assert set(state.allowed()) == {m.unbox}
    state.feed(m.unbox or 0)
    assert {m.box, m.end, m.ref} <= set(state.allowed())
    assert network.rows.token_id("detection") not in set(state.allowed())


def test_a_model_that_does_not_write_boxes_may_not_begin_one() -> None:
    state = AnswerState(MODEL.network.rows, MODEL.markers, [], 5)
    box = MODEL.tokenizer.id_of("<box>")
    assert box not in set(state.allowed())
