"""Every bad argument is refused in one line; honest ones of every kind are taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from chiasm.limits import Limits
from chiasm.model import Model
from chiasm.result import Result
from chiasm_registry import ChiasmError
from core.tiny import picture, tiny_model
from PIL import Image


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


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
    assert "user\nIs <img><IMG_CONTEXT>" in model.render("Is <image> a cat?")


def test_a_model_is_shown_in_one_line(model: Model) -> None:
    assert repr(model) == "Model(tasks=['detection', 'echo', 'level'])"
    assert model.default_threshold("detection") == 0.5
    assert model.default_threshold("level") is None
