"""What a caller may set: each task takes what it declares, samplers what transformers know, nothing else is taken."""

from __future__ import annotations

from typing import Any

import pytest
from chiasm.options import TaskOptions, allowed_tasks, listed, sampling_of, task_names, task_options, told
from chiasm.routing.sampling import Sampling
from chiasm_registry import InputError, PluginError, TaskTable
from core.tiny import BoxOptions, LevelOptions, LevelTask, fakes, picture, tiny_model
from pydantic import BaseModel, model_validator

TABLE = TaskTable.build(fakes())


def test_each_task_takes_its_own() -> None:
    asked = TaskOptions.shared(TABLE, ["detection", "level"], {"threshold": 0.25, "scale": 3.0, "max_objects": 7})
    assert asked.of_task == {"detection": BoxOptions(threshold=0.25, max_objects=7), "level": LevelOptions(scale=3.0)}
    assert asked.max_objects == 7


def test_none_is_the_tasks_own_default() -> None:
    asked = TaskOptions.shared(TABLE, ["detection"], {"threshold": None, "max_objects": None})
    assert asked == TaskOptions({"detection": BoxOptions()}, 100)


def test_an_option_that_no_task_declares_is_named() -> None:
    with pytest.raises(InputError, match=r"unknown option 'colour'; level and echo take scale$"):
        TaskOptions.shared(TABLE, ["level", "echo"], {"colour": "red"})


def test_a_wrong_value_is_named_with_task_option_and_rule() -> None:
    with pytest.raises(
        InputError, match=r"^detection: option threshold is 2; Input should be less than or equal to 1$"
    ):
        task_options(TABLE, "detection", {"threshold": 2})
    with pytest.raises(InputError, match=r"^detection: option threshold is of type dict; "):
        task_options(TABLE, "detection", {"threshold": {}})


def test_whole_numbers_are_numbers() -> None:
    for value in (0, 1):
        assert task_options(TABLE, "detection", {"threshold": value}) == BoxOptions(threshold=float(value))


def test_names_of_tasks() -> None:
    assert task_names(TABLE, "level") == ("level",)
    assert task_names(TABLE, ["echo", "level"]) == ("echo", "level")
    assert task_names(TABLE, "echo", without_image=True) == ("echo",)
    assert allowed_tasks(TABLE, None) == ("detection", "echo", "level")
    assert allowed_tasks(TABLE, []) == ()
    assert allowed_tasks(TABLE, ["level", "level"]) == ("level",)


def test_sampling_is_what_transformers_take() -> None:
    """Whole numbers become numbers where numbers are wanted, None is the default, the limit of tokens holds."""
    assert sampling_of({}, 50) == Sampling(max_new_tokens=50)
    assert sampling_of({"max_new_tokens": 10**6}, 50).max_new_tokens == 50
    chosen = sampling_of({"temperature": 1, "repetition_penalty": 2, "top_p": 1, "seed": None, "do_sample": True}, 9)
    assert [type(value) for value in (chosen.temperature, chosen.repetition_penalty, chosen.top_p)] == [float] * 3
    assert len(chosen.processors()) == 2


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb", r"'a\nb'"),
        (10**400, "a number of more than 20 digits"),
        (-(10**30), "a number of more than 20 digits"),
        (True, "True"),
        (object(), "of type object"),
        ([1], "of type list"),
        (float("nan"), "nan"),
    ],
)
def test_values_are_told_in_one_short_line(value: Any, text: str) -> None:
    assert told(value) == text


def test_a_list_is_a_list() -> None:
    assert listed(("a", "b"), "names") == ["a", "b"]
    for wrong in ("ab", b"ab", {"a": 1}, 5, None, iter("ab")):
        with pytest.raises(InputError, match="names must be a list"):
            listed(wrong, "names")


def test_a_task_whose_own_code_cannot_make_its_options_costs_the_others_nothing() -> None:
    class Broken(BaseModel):
        @model_validator(mode="after")
        def check(self) -> Broken:
            raise SystemExit(0)

    class BrokenTask(LevelTask):
        spec = LevelTask.spec.model_copy(update={"name": "broken", "token": "[BROKEN]", "options": Broken})

    model = tiny_model([*fakes(), BrokenTask()])
    result = model.ask(picture(), "Find the dog.", max_new_tokens=2)
    assert [n.text for n in result.notices if n.task == "broken"] == [
        "task 'broken' is left out: the options of task 'broken' cannot be made: SystemExit at test_options.py:"
        + str(Broken.check.__code__.co_firstlineno + 2)
    ]
    with pytest.raises(PluginError, match="the options of task 'broken' cannot be made"):
        model.run("broken", picture(), ["dog"])
