"""Nothing happens to a conversation by halves: a turn is whole or was not, and bad arguments are refused."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from chiasm.model import Model
from chiasm.session import Session
from chiasm_registry import ChiasmError
from core.talks import SAMPLED, SHORT, TALK, memory, talk
from core.talks import model as model
from core.test_model import same
from core.tiny import picture


def test_a_turn_that_fails_leaves_the_conversation_as_it_was(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = talk(model.chat(), TALK[:2])
    session = model.chat()
    same(session.ask(*TALK[0], **SAMPLED), plain[0])
    for bad in ({"threshold": 7}, {"top_p": 2}, {"tasks": ["nothing"]}):
        with pytest.raises(ChiasmError):
            session.ask("x", **bad)
    calls = iter(range(100))
    speak = model.network.backbone.speak

    def interrupted(*args: Any) -> torch.Tensor:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return speak(*args)

    model.network.backbone.speak = interrupted  # type: ignore[method-assign]
    try:
        with pytest.raises(KeyboardInterrupt):
            session.ask("Find the cup", picture(), **SAMPLED)
    finally:
        del model.network.backbone.speak  # type: ignore[attr-defined]
    assert len(session.turns) == 1
    same(session.ask(*TALK[1], **SAMPLED), plain[1])


def test_a_conversation_that_is_too_long_is_refused_and_can_be_forked_before(model: Model) -> None:
    session = model.chat()
    session.ask(*TALK[0], **SAMPLED)
    long = "Where is the red bus? " * 1400
    backbone = model.network.backbone
    backbone.positions, positions = memory(session).position + 9, backbone.positions
    try:
        with pytest.raises(ChiasmError, match=r"the conversation has [\d,]+ tokens with this question"):
            session.ask(long, **SHORT)
    finally:
        backbone.positions = positions
    assert session.ask("And?", **SHORT).size_hw == (40, 60)


def test_an_answer_ends_where_the_model_ends(model: Model) -> None:
    """No answer leads behind the last position, begun slots included."""
    backbone = model.network.backbone
    session = model.chat()
    session.ask(*TALK[0], **SHORT)
    positions, backbone.positions = backbone.positions, memory(session).position + 30
    try:
        session.ask("And?", **(SHORT | {"max_new_tokens": 200}))
        assert memory(session).position <= backbone.positions
    finally:
        backbone.positions = positions


@pytest.mark.parametrize(
    "bad",
    [
        lambda s: s.ask(["Hi", "Ho"], stream=True),
        lambda s: s.ask(["a" * 40_000, "Hi"]),
        lambda s: s.ask(["Hi", "Ho"], [picture()]),
        lambda s: s.ask(["Find the dog. " * 2_000, "Hi"]),
    ],
)
def test_a_first_question_that_is_refused_makes_no_batch(model: Model, bad: Callable[[Session], Any]) -> None:
    session = model.chat()
    with pytest.raises(ChiasmError):
        bad(session)
    same(session.ask(*TALK[0], **SAMPLED), talk(model.chat(), TALK[:1])[0])


def test_a_batch_of_nothing_is_not_begun(model: Model) -> None:
    session = model.chat()
    assert session.ask([]) == []
    same(session.ask(*TALK[0], **SAMPLED), talk(model.chat(), TALK[:1])[0])


def test_an_answer_goes_on_when_the_next_question_is_refused(model: Model) -> None:
    session = model.chat()
    stream = session.ask(*TALK[0], stream=True, **SAMPLED)
    next(stream)
    for bad in (" ", None, ["Hi"]):
        with pytest.raises(ChiasmError):
            session.ask(bad)
    same(stream.result, talk(model.chat(), TALK[:1])[0])


def test_an_answer_that_is_being_said_ends_where_its_conversation_is_asked_in_company(model: Model) -> None:
    """What was said until then is a turn, and the next one stands behind it."""
    one, other = model.chat(), model.chat()
    both = Session.together([one, other])
    stream = one.ask(*TALK[0], stream=True, **SAMPLED)
    next(stream)
    both.ask(["And now?", "Hi"], **SHORT)
    list(stream)
    assert [question for question, _ in one.turns] == [TALK[0][0], "And now?"]
    assert [one.render().count(question) for question in (TALK[0][0], "And now?")] == [1, 1]
    assert one.turns == both.turns[0]


def test_sessions_that_are_asked_together_stay_what_they_are(model: Model) -> None:
    fresh = model.chat()
    Session.together([fresh])
    assert len(fresh.ask(["Hi", "Ho"], **SHORT)) == 2


def test_a_second_caller_is_told_that_the_session_is_answering(model: Model) -> None:
    session, begun, go = model.chat(), threading.Event(), threading.Event()
    speak = model.network.backbone.speak

    def slow(*args: Any) -> torch.Tensor:
        begun.set()
        go.wait(10)
        return speak(*args)

    model.network.backbone.speak = slow  # type: ignore[method-assign]
    try:
        other = threading.Thread(target=lambda: session.ask("Hi", **SHORT))
        other.start()
        begun.wait(10)
        with pytest.raises(ChiasmError, match="this session is answering"):
            session.ask("Hi", **SHORT)
        with pytest.raises(ChiasmError, match="this session is answering"):
            session.fork()
        with pytest.raises(ChiasmError, match="this session is answering"):
            Session.together([session])
        go.set()
        other.join()
    finally:
        go.set()
        del model.network.backbone.speak  # type: ignore[attr-defined]
    assert len(session.turns) == 1


WRONG: dict[str, Callable[[Model], Any]] = {
    "no text": lambda m: m.chat().ask(None),
    "blank": lambda m: m.chat().ask(" "),
    "unknown option": lambda m: m.chat().ask("Hi", beams=3),
    "a bad image": lambda m: m.chat().ask("Hi", 7),
    "stop strings of numbers": lambda m: m.chat().ask("Hi", stop_strings=[1]),
    "an empty stop string": lambda m: m.chat().ask("Hi", stop_strings=""),
    "too many stop strings": lambda m: m.chat().ask("Hi", stop_strings=["x"] * 99),
    "streams of a batch": lambda m: m.chat().ask(["Hi", "Hi"], stream=True),
    "streams of a list": lambda m: m.ask([None], "Hi", stream=True),
    "history of strings": lambda m: m.chat(history=["Hi"]),
    "history without answers": lambda m: m.chat(history=[("Hi", None)]),
    "no system here": lambda m: m.chat(system="Be brief."),
    "system no text": lambda m: m.chat(system=3),
    "images without a history": lambda m: m.chat(images=[picture()]),
    "too many images": lambda m: m.chat(history=[("Hi", "Ho")], images=[picture()] * 65),
    "a history of an image alone": lambda m: m.chat(history=[("<image>", "A dog")], images=[picture()]),
    "together nothing": lambda m: Session.together([]),
    "together a model": lambda m: Session.together([m]),
    "together twice": lambda m: Session.together([m.chat()] * 2),
    "a batch of another size": lambda m: _asked(m.chat(), ["Hi", "Hi"]).ask(["Hi"]),
    "a batch with one image": lambda m: _asked(m.chat(), ["Hi", "Hi"]).ask("Hi", picture()),
    "one that becomes a batch": lambda m: _asked(m.chat(), "Hi").ask(["Hi"]),
}


def _asked(session: Session, text: Any) -> Session:
    session.ask(text, max_new_tokens=1)
    return session


@pytest.mark.parametrize("case", WRONG)
def test_bad_arguments_are_refused_in_one_line(model: Model, case: str) -> None:
    with pytest.raises(ChiasmError) as caught:
        WRONG[case](model)
    assert str(caught.value).isprintable()
    assert 0 < len(str(caught.value)) <= 200
