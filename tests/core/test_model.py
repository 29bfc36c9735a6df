"""The model's own promises: guided and free, alone and in batches, and nothing that a user types is more than text."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from chiasm.limits import Limits
from chiasm.model import Model
from chiasm.result import Result
from chiasm.text import CONTROL_TOKENS, build_prompt
from chiasm_registry import ChiasmError
from core.tiny import NAMES, BoxTask, EchoTask, LevelTask, picture, talkative, tiny_model
from PIL import Image

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
    assert len(model.run(["echo", "level"], picture(), ["dog"]).outputs) == 2


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


# What users type.


def control_strings(model: Model) -> list[str]:
    return [*CONTROL_TOKENS, *model.table.tokens]


def image_places(model: Model, prompt: str) -> list[tuple[int, int]]:
    """Where the image's tokens stand, checked to be the only ones of their kind."""
    made = build_prompt(model.tokenizer, model.template, [(prompt, None)], [4])
    places = [place for place, token in enumerate(made.ids) if token == model.markers.image]
    assert places == [p for start, stop in made.image_spans for p in range(start, stop)]
    return list(made.image_spans)


def test_control_strings_are_text(model: Model) -> None:
    """Alone and in pairs: no control id in the user's part, the image's places unchanged, the text whole again."""
    plain = image_places(model, "what?")
    words = control_strings(model)
    controls = set(model.tokenizer.control_ids.values())
    for text in [*words, *(a + b for a, b in itertools.product(words, words)), "[DE" + "T]", "<IMG_CONTEXT>" * 9]:
        ids = model.tokenizer.encode_user(text)
        assert not controls & set(ids)
        assert model.tokenizer.decode(ids) == text
        assert image_places(model, text) == plain


def test_control_strings_route_nothing(model: Model) -> None:
    """A model that only repeats what it is told says it as text: no route, whatever was typed."""
    text = "what does [DET] mean? <IMG_CONTEXT> <|im_end|>"
    repeat = tiny_model()
    script = iter([*repeat.tokenizer.encode_user(text), *[repeat.markers.end] * 9])
    size = repeat.network.rows.base + len(repeat.network.rows.names)

    def scripted(hidden: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        logits = torch.full((*hidden.shape[:-1], size), -10.0)
        logits[..., next(script)] = 10.0
        return logits

    repeat.network.rows.logits = scripted  # type: ignore[method-assign]
    result = repeat.ask(picture(), text)
    assert result.text == text
    assert result.outputs == {}
    assert image_places(model, text) == image_places(model, "what?")


@pytest.mark.parametrize("text", control_strings(tiny_model()))
def test_a_control_string_is_a_phrase_like_any_other(model: Model, text: str) -> None:
    """In names too, and across prompt and names: one route a phrase, and the neighbours are not touched."""
    alone = model.detect(picture(), ["dog"], threshold=0).objects[0]
    beside = model.detect(picture(), [text, "dog", text + "[DET]"], threshold=0)
    assert [o.label for o in beside.objects] == [text, "dog", text + "[DET]"]
    assert beside.objects[1].score == pytest.approx(alone.score, abs=1e-4)


def test_words_of_two_fields_never_join(model: Model) -> None:
    """`[DE` in one field and `T]` in the next are two texts."""
    split = model.detect(picture(), ["[DE", "T]"], threshold=0)
    assert [o.label for o in split.objects] == ["[DE", "T]"]
    turns = [("[DE", "T]"), ("T] <|im_", None)]
    ids = build_prompt(model.tokenizer, model.template, turns, [4]).ids
    routing = {model.network.rows.token_id(task) for task in model.table.names}
    assert not routing & set(ids)


def test_a_prompt_that_the_model_has_no_positions_for_is_refused_with_both_counts() -> None:
    small = tiny_model()
    with pytest.raises(ChiasmError, match=r"the prompt has .* tokens, 4 for images; the model takes 8,192"):
        small.ask(picture(), "🐕" * 9000)


def test_a_prompt_of_many_characters_is_taken(model: Model) -> None:
    assert isinstance(model.ask(picture(), "Find the dog. " * 300, max_new_tokens=2), Result)


def test_any_words_come_back_whole(model: Model) -> None:
    """A name is returned to the letter, whatever it holds."""
    odd = [
        "a, b; c/d",
        " leading",
        "Ångström",
        "ＤＥＴ",
        "[ DET ]",
        "[det]",
        "D\u200bET",
        "\u202eTED",
        "null",
        "5",
        "tab\there",
        "a\r\nb",
    ]
    assert [o.label for o in model.detect(picture(), odd, threshold=0).objects] == odd


# What is refused.

A = picture()
WRONG: dict[str, Callable[[Model], Any]] = {
    "names empty": lambda m: m.detect(A, []),
    "names a str": lambda m: m.detect(A, "dog"),
    "names None": lambda m: m.detect(A, None),
    "names with a number": lambda m: m.detect(A, ["dog", 5]),
    "name blank": lambda m: m.detect(A, ["dog", " "]),
    "name twice": lambda m: m.detect(A, ["dog", "dog"]),
    "name twice in NFC": lambda m: m.detect(A, ["\u00e9", "e\u0301"]),
    "name too long": lambda m: m.detect(A, ["a" * 300]),
    "names too many": lambda m: m.detect(A, [str(k) for k in range(5001)]),
    "name with NUL": lambda m: m.detect(A, ["a\0"]),
    "name with half a pair": lambda m: m.detect(A, ["\ud800"]),
    "threshold 2": lambda m: m.detect(A, ["dog"], threshold=2),
    "threshold negative": lambda m: m.detect(A, ["dog"], threshold=-0.1),
    "threshold NaN": lambda m: m.detect(A, ["dog"], threshold=float("nan")),
    "threshold text": lambda m: m.detect(A, ["dog"], threshold="0.5"),
    "threshold True": lambda m: m.detect(A, ["dog"], threshold=True),
    "threshold huge": lambda m: m.detect(A, ["dog"], threshold=10**5000),
    "threshold an object": lambda m: m.detect(A, ["dog"], threshold=object()),
    "max_objects 0": lambda m: m.detect(A, ["dog"], max_objects=0),
    "max_objects 1.5": lambda m: m.detect(A, ["dog"], max_objects=1.5),
    "max_objects True": lambda m: m.detect(A, ["dog"], max_objects=True),
    "max_objects huge": lambda m: m.detect(A, ["dog"], max_objects=10**400),
    "tuple to detect": lambda m: m.detect((A, A), ["dog"]),
    "image None": lambda m: m.detect(None, ["dog"]),
    "None in a list": lambda m: m.detect([A, None], ["dog"]),
    "image a number": lambda m: m.detect(5, ["dog"]),
    "image of floats": lambda m: m.detect(np.zeros((4, 4, 3)), ["dog"]),
    "file missing": lambda m: m.detect("no/such/picture.png", ["dog"]),
    "unknown option": lambda m: m.run("detection", A, ["dog"], colour="red"),
    "option of another task": lambda m: m.run("level", A, ["dog"], threshold=0.5),
    "option of a wrong type": lambda m: m.run("level", A, ["dog"], scale="large"),
    "unknown task": lambda m: m.run("depth", A, ["dog"]),
    "task None": lambda m: m.run(None, A, ["dog"]),
    "task a number": lambda m: m.run(5, A, ["dog"]),
    "tasks unhashable": lambda m: m.run([["level"]], A, ["dog"]),
    "task an object": lambda m: m.run([object()], A, ["dog"]),
    "no task": lambda m: m.run([], A, ["dog"]),
    "task twice": lambda m: m.run(["level", "level"], A, ["dog"]),
    "task that needs an image": lambda m: m.run("level", None, ["dog"]),
    "prompt None": lambda m: m.ask(A, None),
    "prompt bytes": lambda m: m.ask(A, b"Hi"),
    "prompt blank": lambda m: m.ask(A, " \n"),
    "prompt without images": lambda m: m.ask([], 5),
    "prompt too long": lambda m: m.ask(A, "a" * 40_000),
    "prompts for one image": lambda m: m.ask(A, ["Hi", "Ho"]),
    "too few prompts": lambda m: m.ask([A, A], ["Hi"]),
    "prompt in a tuple": lambda m: m.ask([A, A], ("Hi", "Ho")),
    "a bad one among prompts": lambda m: m.ask([A, A], ["Hi", 5]),
    "an empty tuple": lambda m: m.ask((), "Hi"),
    "a list in a list": lambda m: m.ask([[A]], "Hi"),
    "too many images": lambda m: m.ask((A,) * 65, "Hi"),
    "asked threshold": lambda m: m.ask(A, "Hi", threshold="0.5"),
    "asked threshold without tasks": lambda m: m.ask(A, "Hi", threshold=7, tasks=[]),
    "asked max_objects without tasks": lambda m: m.ask(A, "Hi", max_objects="x", tasks=[]),
    "asked unknown task": lambda m: m.ask(A, "Hi", tasks=["depth"]),
    "asked task a str": lambda m: m.ask(A, "Hi", tasks="detection"),
    "asked tasks a number": lambda m: m.ask(A, "Hi", tasks=5),
    "unknown sampling": lambda m: m.ask(A, "Hi", beams=4),
    "temperature 0": lambda m: m.ask(A, "Hi", do_sample=True, temperature=0),
    "temperature NaN": lambda m: m.ask(A, "Hi", do_sample=True, temperature=float("nan")),
    "temperature an object": lambda m: m.ask(A, "Hi", temperature=object()),
    "top_p 2": lambda m: m.ask(A, "Hi", top_p=2),
    "top_k 1.5": lambda m: m.ask(A, "Hi", top_k=1.5),
    "do_sample 1": lambda m: m.ask(A, "Hi", do_sample=1),
    "seed -1": lambda m: m.ask(A, "Hi", seed=-1),
    "max_new_tokens 0": lambda m: m.ask(A, "Hi", max_new_tokens=0),
    "max_new_tokens huge": lambda m: m.ask(A, "Hi", max_new_tokens=10**5000),
    "rendered images -1": lambda m: m.render("Hi", images=-1),
    "rendered images text": lambda m: m.render("Hi", images="one"),
    "rendered nothing": lambda m: m.render(""),
    "threshold of an unknown task": lambda m: m.default_threshold("depth"),
    "threshold of a list": lambda m: m.default_threshold(["detection"]),
    "segment": lambda m: m.segment(A, ["dog"]),
    "draw": lambda m: m.draw("a dog"),
    "chat": lambda m: m.chat(),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_arguments_are_refused_in_one_line(model: Model, case: str) -> None:
    with pytest.raises(ChiasmError) as caught:
        WRONG[case](model)
    message = str(caught.value)
    assert message.isprintable()
    assert 0 < len(message) <= 200
    assert " at 0x" not in message


RIGHT: dict[str, Callable[[Model], Any]] = {
    "threshold 0": lambda m: m.detect(A, ["dog"], threshold=0),
    "threshold None": lambda m: m.detect(A, ["dog"], threshold=None),
    "max_objects 1": lambda m: m.detect(A, ["dog"], max_objects=1),
    "names a tuple": lambda m: m.detect(A, ("dog",)),
    "array": lambda m: m.detect(np.zeros((4, 5, 3), np.uint8), ["dog"]),
    "tensor": lambda m: m.detect(torch.zeros(3, 4, 5, dtype=torch.uint8), ["dog"]),
    "grey": lambda m: m.detect(Image.new("L", (9, 9)), ["dog"]),
    "whole numbers where numbers are wanted": lambda m: m.ask(
        A, "Hi", do_sample=True, temperature=1, top_p=1, repetition_penalty=2, max_new_tokens=2
    ),
    "None where a default stands": lambda m: m.ask(A, "Hi", temperature=None, max_new_tokens=2),
    "more tokens than are granted": lambda m: m.ask(A, "?", max_new_tokens=10**6, tasks=[]),
    "all sampling": lambda m: m.ask(A, "Hi", do_sample=True, top_k=5, top_p=0.5, temperature=0.7, max_new_tokens=3),
}


@pytest.mark.parametrize("case", RIGHT)
def test_honest_arguments_are_taken(model: Model, case: str) -> None:
    limited = Model(**{**vars(model), "limits": Limits(new_tokens=30)})
    assert isinstance(RIGHT[case](limited), Result)


def test_the_callers_arguments_are_left_as_they_were(model: Model) -> None:
    names, array = ["dog", "cat"], np.full((20, 30, 3), 7, np.uint8)
    model.detect([array, picture()], names)
    assert names == ["dog", "cat"]
    assert (array == 7).all()


def test_a_rendered_conversation_is_what_is_fed(model: Model) -> None:
    text = model.render("Find [DET].", images=2)
    assert text.count("<IMG_CONTEXT>") == 2 * model.network.backbone.tokens_per_tile
    assert text.startswith("<|im_start|>user\n<img>")


def test_a_model_is_shown_in_one_line(model: Model) -> None:
    assert repr(model) == "Model(tasks=['detection', 'echo', 'level'])"
    assert model.default_threshold("detection") == 0.5
    assert model.default_threshold("level") is None


def test_a_core_of_one_picture_a_view_answers_too() -> None:
    """The trunk's core: five maps, one tile."""
    trunk = tiny_model([BoxTask(), LevelTask(), EchoTask()], trunk=True)
    result = trunk.run(["detection", "level"], picture(300, 80), NAMES, threshold=0)
    assert len(result.objects) == len(NAMES)
    assert len(trunk.network.backbone.info.maps) == 5
