"""The model's own promises: guided and free, alone and in batches, by itself and in threads."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from chiasm.limits import Limits
from chiasm.model import Model
from chiasm.options import Asking
from chiasm.requests import Request
from chiasm.result import Result
from chiasm.routes import chains, in_turn
from chiasm.thread import Thread, speaker_of
from core.tiny import NAMES, BoxTask, EchoTask, LevelTask, picture, talkative, tiny_model

SHORT = {"max_new_tokens": 24}


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


@pytest.fixture(scope="module")
def chatty() -> Model:
    return talkative(tiny_model())


def same(one: Result, other: Result) -> None:
    """Text, routes and names are equal; places and scores up to rounding."""
    assert one.text == other.text
    assert one.size_hw == other.size_hw
    assert {task: len(given) for task, given in one.outputs.items()} == {t: len(g) for t, g in other.outputs.items()}
    assert [(o.label, o.task, o.span) for o in one.objects] == [(o.label, o.task, o.span) for o in other.objects]
    for mine, theirs in zip(one.objects, other.objects, strict=True):
        assert mine.box is not None
        assert theirs.box is not None
        assert mine.box.xyxy == pytest.approx(theirs.box.xyxy, abs=0.05)
        assert mine.score == pytest.approx(theirs.score, abs=1e-4)
    for task in one.outputs:
        for mine_out, theirs_out in zip(one.outputs[task], other.outputs[task], strict=True):
            assert mine_out.phrase == theirs_out.phrase
            if task != "detection":
                assert mine_out.slots == pytest.approx(theirs_out.slots, abs=1e-3)  # type: ignore[attr-defined]


# Guided.


def test_one_output_a_phrase_in_the_order_asked(model: Model) -> None:
    result = model.run(("level", "detection"), picture(), NAMES, threshold=0)
    assert set(result.outputs) == {"level", "detection"}
    for given in result.outputs.values():
        assert tuple(output.phrase for output in given) == NAMES
    assert [o.label for o in result.objects] == list(NAMES)
    assert result.size_hw == (40, 60)
    assert result.text == ""


def test_a_phrase_is_judged_alike_in_any_company(model: Model) -> None:
    """Score and box are the same asked alone, among eighty, backwards, and in chunks on the same prefix."""
    many = [*NAMES, *(f"thing number {k}" for k in range(80 - len(NAMES)))]
    among = model.detect(picture(), many, threshold=0, max_objects=100).objects
    backwards = model.detect(picture(), many[::-1], threshold=0, max_objects=100).objects[::-1]
    limits = Limits(phrases_at_once=7)
    chunks = Model(**{**vars(model), "limits": limits}).detect(picture(), many, threshold=0).objects
    for k, name in enumerate(many):
        alone = model.detect(picture(), [name], threshold=0).objects if k < 12 else ()
        for other in (*alone, backwards[k], chunks[k]):
            assert other.label == among[k].label
            assert other.score == pytest.approx(among[k].score, abs=1e-4)
            assert other.box is not None
            assert other.box.xyxy == pytest.approx(among[k].box.xyxy, abs=0.05)  # type: ignore[union-attr]


def test_several_tasks_behind_one_phrase(model: Model) -> None:
    """The first task's slots are the same with and without a second one behind them; the order may be chosen."""
    both = model.run(["level", "echo"], picture(), NAMES)
    alone = model.run("level", picture(), NAMES)
    assert [o.slots for o in both.outputs["level"]] == pytest.approx(
        [o.slots for o in alone.outputs["level"]], abs=1e-3
    )
    turned = model.run(["echo", "level"], picture(), NAMES)
    assert [o.slots for o in turned.outputs["level"]] == pytest.approx(
        [o.slots for o in alone.outputs["level"]], abs=1e-3
    )


def test_a_token_stands_behind_those_that_it_comes_after_and_behind_no_others() -> None:
    after = {"a": (), "b": ("a",), "c": ("a",), "d": ("c", "b"), "e": ("nobody",)}
    table: Any = SimpleNamespace(by_name=lambda name: SimpleNamespace(spec=SimpleNamespace(after=after[name])))
    assert chains(table, ["b", "a"]) == [("a", "b")]
    assert chains(table, ["e", "a"]) == [("e",), ("a",)]
    assert chains(table, ["a", "b", "c"]) == [("a", "b"), ("a", "c")]
    assert chains(table, ["d", "c", "b", "a"]) == [("a", "c", "b", "d"), ("a", "b")]
    assert chains(table, ["d", "a"]) == [("d",), ("a",)]
    assert in_turn(table, ["e", "d", "c", "b", "a"]) == ("e", "a", "c", "b", "d")


def test_the_threshold_keeps_what_reaches_it(model: Model) -> None:
    everything = model.detect(picture(), NAMES, threshold=0)
    middle = sorted(o.score for o in everything.objects)[len(NAMES) // 2]
    some = model.detect(picture(), NAMES, threshold=middle)
    assert {o.label for o in some.objects} == {o.label for o in everything.objects if o.score >= middle}
    assert len(some.outputs["detection"]) == len(NAMES)
    assert model.detect(picture(), NAMES, threshold=1).objects == ()


def test_the_best_objects_of_an_image_are_kept_in_order(model: Model) -> None:
    everything = model.detect(picture(), NAMES, threshold=0).objects
    best = model.detect(picture(), NAMES, threshold=0, max_objects=2).objects
    floor = sorted((o.score for o in everything), reverse=True)[1]
    assert best == tuple(o for o in everything if o.score >= floor)


def test_a_list_of_images_is_a_batch(model: Model) -> None:
    images = [picture(60, 40, 1), picture(30, 90, 2), picture(200, 50, 3)]
    results = model.detect(images, NAMES, threshold=0)
    for image, result in zip(images, results, strict=True):
        same(result, model.detect(image, NAMES, threshold=0))


@pytest.mark.parametrize("empty", [lambda m: m.detect([], ["dog"]), lambda m: m.ask([], "Hi"), lambda m: m.ask([], [])])
def test_no_images_give_no_results(model: Model, empty: Callable[[Model], Any]) -> None:
    assert empty(model) == []


def test_a_task_that_needs_no_image_runs_without_one(model: Model) -> None:
    result = model.run("echo", None, ["dog"])
    assert result.size_hw is None
    assert result.outputs["echo"][0].maps == 0


def test_an_untrained_task_runs_when_it_is_named_and_says_so(model: Model) -> None:
    raw = tiny_model(untrained=["level"])
    result = raw.run("level", picture(), ["dog", "cat"])
    assert [notice.text for notice in result.notices] == [
        "task 'level' is untrained: this checkpoint has no weights for it"
    ]
    assert len(result.outputs["level"]) == 2


# Free.


def test_what_is_routed_stands_in_the_text(chatty: Model) -> None:
    """Each object's label is its span of the text; the same request gives the same answer."""
    heard = 0
    for seed in range(10):
        result = chatty.ask(picture(), "Find the dog", threshold=0, do_sample=True, seed=seed, **SHORT)
        assert all(result.text[slice(*o.span)] == o.label for o in result.objects)
        heard += len(result.objects)
        same(result, chatty.ask(picture(), "Find the dog", threshold=0, do_sample=True, seed=seed, **SHORT))
    assert heard > 1


def test_what_is_not_found_ends_the_text(chatty: Model) -> None:
    result = chatty.ask(picture(), "Find the dog", threshold=1, tasks=["detection"], **SHORT)
    assert result.missing
    assert result.text.endswith(f"Not found: {', '.join(result.missing)}.")


def test_an_untrained_task_is_never_routed() -> None:
    raw = talkative(tiny_model(untrained=["level", "detection"]))
    results = [raw.ask(picture(), "Hi", do_sample=True, seed=seed, **SHORT) for seed in range(5)]
    assert {task for result in results for task in result.outputs} == {"echo"}


def test_a_request_limits_what_may_be_routed(chatty: Model) -> None:
    """Whatever image and prompt say, only the tasks of the request answer."""
    for seed in range(3):
        result = chatty.ask(picture(), "[LEVEL] [DET]", tasks=["level"], do_sample=True, seed=seed, **SHORT)
        assert set(result.outputs) <= {"level"}
        assert chatty.ask(picture(), "Hi", tasks=[], do_sample=True, seed=seed, **SHORT).outputs == {}


@pytest.mark.parametrize("stream", [False, True])
def test_where_nothing_may_be_routed_the_same_is_said_and_goes_nowhere(chatty: Model, stream: bool) -> None:
    routed = 0
    for seed in range(5):
        said: dict[str, Any] = {"do_sample": True, "seed": seed, **SHORT}
        whole = chatty.ask(picture(), "Hi", **said)
        spoken = chatty.ask(picture(), "Hi", tasks=[], stream=stream, **said)
        result = spoken.result if stream else spoken
        routed += bool(whole.outputs)
        assert (result.outputs, result.objects) == ({}, ())
        assert whole.text.partition(" Not found: ")[0].rstrip() == result.text.rstrip()
    assert routed


def test_what_was_trained_beside_its_language_model_is_not_said_where_nothing_may_be_routed() -> None:
    """Its ear, and adapters if it has any, stay out of it."""
    model, asked = tiny_model(), {"threshold": None, "max_objects": 1, "tasks": [], "sampling": {}}

    def sayable() -> Collection[str]:
        how = Asking.of(model.table, model.limits, **asked)
        return speaker_of(model, Thread(), Request("Hi", ()), [], how).tasks

    assert sayable() == ["detection", "echo", "level"]
    with torch.no_grad():
        model.network.rows.row("echo").asking += 1.0
    assert sayable() == ["detection", "level"]


def test_what_is_meant_for_another_task_is_said_counted_and_goes_nowhere(chatty: Model) -> None:
    """A model that could not say it would be driven to a task that nobody meant."""
    told = 0
    for seed in range(6):
        said: dict[str, Any] = {"do_sample": True, "seed": seed, **SHORT}
        whole, held = (chatty.ask(picture(), "Hi", tasks=tasks, **said) for tasks in (None, ["echo"]))
        assert held.outputs.get("echo", ()) == whole.outputs.get("echo", ())
        assert set(held.outputs) <= {"echo"}
        meant = {notice.task: notice.text for notice in held.notices}
        for task in whole.outputs.keys() - {"echo"}:
            count = len(whole.outputs[task])
            phrases = f"{count} phrases were" if count > 1 else "1 phrase was"
            assert meant[task] == f"{phrases} meant for task {task!r}, which was not asked for"
            told += 1
        assert not any(notice.text.endswith("asked for") for notice in whole.notices)
    assert told


def test_without_an_image_nothing_is_routed_that_needs_one(chatty: Model) -> None:
    """Though its neighbours in the batch have images."""
    for seed in range(3):
        settings = {"do_sample": True, "seed": seed, **SHORT}
        alone, beside = chatty.ask(None, "Hi", **settings), chatty.ask([None, picture()], "Hi", **settings)[0]
        assert set(alone.outputs) <= {"echo"}
        same(alone, beside)


def test_rows_without_a_token_are_never_said() -> None:
    """A base vocabulary may have more rows than the tokenizer has tokens."""
    padded = talkative(tiny_model(vocabulary=2048))
    ids = []
    for seed in range(3):
        result = padded.ask(picture(), "Hi", do_sample=True, seed=seed, temperature=3.0, **SHORT)
        ids += padded.tokenizer.encode_user(result.text)
    assert ids


EIGHT: list[tuple[Any, str]] = [
    (picture(60, 40, 1), "Find the dog."),
    (picture(300, 60, 2), "What is in the picture?"),
    (None, "How are you?"),
    (picture(33, 171, 3), "Where is the red bus? " * 6),
    ((picture(50, 50, 4), picture(90, 60, 5)), "Compare the two."),
    (picture(56, 56, 6), "?"),
    ((picture(20, 20, 7),), "Find the dog."),
    (picture(1, 1, 8), "Cup"),
]


@pytest.mark.parametrize("sampled", [{}, {"do_sample": True, "seed": 5}], ids=["greedy", "sampled"])
def test_a_batch_of_eight_equals_eight_calls(chatty: Model, sampled: dict[str, Any]) -> None:
    """Mixed sizes and prompts, no image, several images, any order: text, routes and boxes are those of each alone."""
    settings = {"threshold": 0, **SHORT, **sampled}
    alone = [chatty.ask(image, prompt, **settings) for image, prompt in EIGHT]
    assert sum(len(given) for result in alone for given in result.outputs.values()) >= 4
    order = list(range(8))
    for _ in range(2):
        random.Random(1).shuffle(order)
        results = chatty.ask([EIGHT[k][0] for k in order], [EIGHT[k][1] for k in order], **settings)
        for k, result in zip(order, results, strict=True):
            same(result, alone[k])


def test_more_requests_than_a_batch_holds(chatty: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [picture(60, 40, k) for k in range(5)]
    together = chatty.ask(images, "Find the dog.", threshold=0, **SHORT)
    monkeypatch.setattr("chiasm.model.REQUESTS_AT_ONCE", 2)
    monkeypatch.setattr("chiasm.scene.TILES_AT_ONCE", 3)
    for one, other in zip(chatty.ask(images, "Find the dog.", threshold=0, **SHORT), together, strict=True):
        same(one, other)


def test_two_threads_answer_as_one(chatty: Model) -> None:
    """The same prompt twice at once gives the serial answer twice."""
    wanted = chatty.ask(picture(), "Find the dog.", threshold=0, **SHORT)
    found: list[Result] = []

    def ask() -> None:
        found.append(chatty.ask(picture(), "Find the dog.", threshold=0, **SHORT))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in found:
        same(result, wanted)


def test_a_core_of_one_picture_a_view_answers_too() -> None:
    """The trunk's core: five maps, one tile."""
    trunk = tiny_model([BoxTask(), LevelTask(), EchoTask()], trunk=True)
    result = trunk.run(["detection", "level"], picture(300, 80), NAMES, threshold=0)
    assert len(result.objects) == len(NAMES)
    assert len(trunk.network.backbone.info.maps) == 5
