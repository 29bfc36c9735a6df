"""Streams: pieces of text and outputs as they are known, which together are the answer that is not streamed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from chiasm.model import Model
from chiasm.result import Result
from chiasm.speech import Stream
from chiasm_registry import Boxes, ChiasmError, Output, Task, TaskSpec
from core.talks import SAMPLED, SHORT, TALK, memory, passes, talk
from core.talks import model as model
from core.test_model import same
from core.tiny import BoxTask, EchoTask, Level, LevelDecoder, picture, tiny_model
from torch import Tensor


def heard(stream: Stream) -> tuple[str, list[Output]]:
    """Everything a stream gives: its text, and its outputs in order."""
    events = [*stream]
    assert all(isinstance(event, (str, Output)) for event in events)
    assert "" not in events
    return "".join(e for e in events if isinstance(e, str)), [e for e in events if isinstance(e, Output)]


def scripted(model: Model, ids: list[int]) -> Callable[[], None]:
    """The model says these ids and its end token, whatever was asked; call what comes back to make it itself again."""
    network, said = model.network, iter([*ids, *[model.markers.end] * 9])
    waiting: list[int] = []

    def logits(hidden: Tensor, heard: Tensor | None = None) -> Tensor:
        row = torch.zeros(len(hidden), network.rows.base + len(network.rows.names))
        if waiting:  # a slot is fed, whatever is chosen here
            waiting.pop()
        else:
            token = next(said)
            row[:, token] = 100.0
            task = network.rows.task_of(token)
            waiting.extend(network.rows.slot_ids(task) if task else [])
        return row

    network.logits = logits  # type: ignore[method-assign]
    return lambda: delattr(network, "logits")


# What is streamed is the answer.


@pytest.mark.parametrize("seed", range(6))
def test_a_streamed_answer_is_the_unstreamed_one(model: Model, seed: int) -> None:
    """Pieces make the text, the one on what was not found included; outputs and objects are the same."""
    session, routed = model.chat(), 0
    settings = SAMPLED | {"seed": seed, "threshold": 0.5}
    for (text, image), whole in zip(TALK, talk(model.chat(), **settings), strict=True):
        stream = session.ask(text, image, **settings, stream=True)
        said, outputs = heard(stream)
        assert said == whole.text
        same(stream.result, whole)
        assert {id(o) for o in outputs} == {id(o) for given in stream.result.outputs.values() for o in given}
        routed += len(outputs)
    assert routed
    assert [result for _, result in session.turns][-1] == stream.result


def test_ask_streams_too(model: Model) -> None:
    stream = model.ask(picture(60, 40, 1), "Find the dog.", **SAMPLED, stream=True)
    whole = model.ask(picture(60, 40, 1), "Find the dog.", **SAMPLED)
    assert heard(stream)[0] == whole.text
    assert not stream.result.timings.keys() - {"see", "speak", "decode"}


def test_the_first_text_comes_with_the_first_token(model: Model) -> None:
    """One pass over the question, and no step more."""
    with passes(model) as counts:
        first = next(model.chat().ask("Hi", stream=True, do_sample=True, seed=1, max_new_tokens=24))
        assert isinstance(first, str)
        assert len(counts) == 1


def test_outputs_come_before_the_text_ends(model: Model) -> None:
    """Right behind the last slot: what is said after a route is said after its output."""
    m, rows, encode = model.markers, model.network.rows, model.tokenizer.encode_user
    ids = [*encode("a "), m.ref, *encode("dog"), m.unref, rows.token_id("detection"), *encode(" and a cup")]
    again = scripted(model, ids)
    try:
        events = [*model.chat().ask("Hi", picture(), threshold=0, stream=True)]
    finally:
        again()
    places = [k for k, event in enumerate(events) if isinstance(event, Output)]
    (place,) = places
    assert isinstance(events[place], Boxes)
    assert "".join(events[:place]) == "a dog"
    assert "".join(events[place + 1 :]) == " and a cup"
    assert len(events[:place]) > 1


def test_no_piece_splits_a_character(model: Model) -> None:
    """Bytes of one character wait for each other; what never becomes one is said in the end as it is unstreamed."""
    words = "naïve 東京 🦊 x"
    encode = model.tokenizer.encode_user
    fox = encode("🦊")
    assert len(fox) == 4
    for ids, text in ((encode(words), words), ([*encode("a"), *fox[:3]], "a\ufffd"), ([*fox[1:], *encode("b")], "b")):
        again = scripted(model, ids)
        pieces = [*model.chat().ask("Hi", stream=True)]
        scripted(model, ids)
        whole = model.chat().ask("Hi").text
        del model.network.logits  # type: ignore[attr-defined]
        assert "".join(pieces) == whole
        assert whole.endswith(text)
        assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in whole
    again = scripted(model, encode(words))
    assert all("\ufffd" not in piece for piece in model.chat().ask("Hi", stream=True))
    again()


def test_an_answer_ends_in_front_of_a_stop_string(model: Model) -> None:
    """Whole or streamed, also where it begins in one token and ends in another; nothing of it is ever given out."""
    cases: list[tuple[Any, str]] = [(["zebra", " red"], "Where is the"), ("zebra", "Where is the red bus?")]
    for stops, text in [("the r", "Where is "), *cases]:
        again = scripted(model, model.tokenizer.encode_user("Where is the red bus?"))
        session = model.chat()
        assert "".join(session.ask("Hi", stream=True, stop_strings=stops)) == text
        again()
        assert session.turns[-1][1].text == text
        assert session.ask("And?", **SHORT).size_hw is None


def test_a_stop_string_takes_a_route_back_out_of_the_text_only(model: Model) -> None:
    """The phrase that it overlaps was routed: its output stays, without a place in the text."""
    m, rows, encode = model.markers, model.network.rows, model.tokenizer.encode_user
    ids = [*encode("a "), m.ref, *encode("dog"), m.unref, rows.token_id("detection"), *encode(" and more")]
    again = scripted(model, ids)
    try:
        result = model.ask(picture(), "Hi", threshold=0, stop_strings="dog and")
    finally:
        again()
    assert result.text == "a "
    assert [(thing.label, thing.span) for thing in result.objects] == [("dog", None)]


# Tasks that build on others.


class CountTask(Task):
    """Says how many outputs of the tasks before it there are."""

    spec = TaskSpec(name="count", token="[CNT]", embeddings=2, output=Level, summary="counts", after=("detection",))

    def decoder(self, core: Any) -> Any:
        class Counting(LevelDecoder):
            def decode(self, scene: Any, routes: Any) -> list[Level]:
                return [Level(slots=len(route.earlier), maps=0, pixels=0) for route in routes]

        return Counting(core)


@pytest.mark.parametrize("order", [("detection", "count"), ("count", "detection")])
@pytest.mark.parametrize("apart", [False, True], ids=["one mention", "two mentions"])
def test_a_task_that_comes_after_another_has_its_outputs(order: tuple[str, str], apart: bool) -> None:
    """In whatever order they are said, also where the phrase is said twice: streamed as unstreamed."""
    model = tiny_model([BoxTask(), CountTask(), EchoTask()])
    m, rows, encode = model.markers, model.network.rows, model.tokenizer.encode_user
    phrase = [m.ref, *encode("dog"), m.unref]
    first, second = (rows.token_id(task) for task in order)
    ids = [*phrase, first, *([*encode(" and "), *phrase] if apart else []), second, *encode(" so")]
    again = scripted(model, ids)
    stream = model.ask(picture(), "Hi", threshold=0, stream=True)
    kinds = [type(event).__name__ for event in stream if isinstance(event, Output)]
    again()
    scripted(model, ids)
    whole = model.ask(picture(), "Hi", threshold=0)
    assert whole.outputs["count"][0].slots == 1
    same(stream.result, whole)
    assert sorted(kinds) == ["Boxes", "Level"]


# Whoever stops listening.


def stopped_at(stream: Stream, event: int) -> Result:
    for _ in range(event):
        next(stream)
    stream.close()
    return stream.result


def test_what_was_said_until_a_stop_is_the_answer(model: Model) -> None:
    """The conversation goes on behind it, begun slots taken back, as if no more had been meant to be said."""
    whole = model.chat().ask(*TALK[0], **SAMPLED)
    cut, routed = 0, 0
    for event in range(1, 8):
        session = model.chat()
        result = stopped_at(session.ask(*TALK[0], **SAMPLED, stream=True), event)
        assert whole.text.startswith(result.text)
        cut += len(result.text) < len(whole.text)
        assert session.turns == ((TALK[0][0], result),)
        state, starts = memory(session), model.network.rows.starts
        assert len(state.ids) == state.cache.get_seq_length() == state.position
        said = [*state.ids, *state.unfed]
        slots = [k for k, token in enumerate(said) if token >= starts[0]]
        for k in slots:
            task = next(t for t in model.table.names if said[k] in model.network.rows.slot_ids(t))
            first = k - model.network.rows.slot_ids(task).index(said[k])
            assert said[first : first + len(model.network.rows.slot_ids(task))] == model.network.rows.slot_ids(task)
        routed += bool(slots)
        assert session.ask("And?", **SHORT).size_hw == (40, 60)
    assert min(cut, routed) >= 2


@pytest.mark.parametrize("calls", range(1, 24))
def test_an_interrupt_in_any_pass_keeps_the_session(model: Model, calls: int) -> None:
    """Raised inside the network, between two of its layers: before the question is heard nothing happened."""
    session = model.chat()
    session.ask(*TALK[0], **SAMPLED)
    before = len(memory(session).ids)
    layers = model.network.backbone.internvl.model.language_model.layers  # type: ignore[attr-defined]
    count = iter(range(1000))

    def interrupt(*_: Any) -> None:
        if next(count) == calls - 1:
            raise KeyboardInterrupt

    handle = layers[1].register_forward_pre_hook(interrupt)
    stream = session.ask("Find the cup, the dog", picture(50, 50, 2), **SAMPLED, stream=True)
    try:
        with pytest.raises(KeyboardInterrupt):
            for _ in stream:
                pass
    finally:
        handle.remove()
    state = memory(session)
    assert len(state.ids) == state.cache.get_seq_length() == state.position
    assert all(layer.keys.shape[-2] == layer.values.shape[-2] == len(state.ids) for layer in state.cache.layers)
    if calls == 1:
        assert len(state.ids) == before
        assert len(session.turns) == 1
        with pytest.raises(ChiasmError, match="stopped before it began"):
            _ = stream.result
    else:
        assert session.turns[-1] == ("Find the cup, the dog", stream.result)
    assert session.ask("And?", **SHORT).size_hw in ((40, 60), (50, 50))


def test_asking_again_stops_an_answer(model: Model) -> None:
    session = model.chat()
    stream = session.ask(*TALK[0], **SAMPLED, stream=True)
    first = next(stream)
    session.ask("And?", **SHORT)
    assert [question for question, _ in session.turns] == ["Find the dog.", "And?"]
    assert session.turns[0][1].text == first
    assert [*stream] == []


def test_a_stream_that_nobody_listens_to_says_nothing(model: Model) -> None:
    session = model.chat()
    with passes(model) as counts:
        session.ask("Hi", **SHORT, stream=True).close()
    assert counts == []
    assert session.turns == ()
    fork = session.fork()
    assert len(fork.ask("Hi", stream=True, **SHORT).result.text) > 0


def test_decoders_run_once_an_output(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    decode = LevelDecoder.decode
    monkeypatch.setattr(LevelDecoder, "decode", lambda self, s, r: calls.append(len(r)) or decode(self, s, r))
    for seed in range(6):
        stream = model.ask(picture(), "Hi", **(SAMPLED | {"seed": seed}), tasks=["level"], stream=True)
        assert len(heard(stream)[1]) == len(stream.result.outputs.get("level", ()))
        assert sum(calls) == len(stream.result.outputs.get("level", ()))
        calls.clear()
