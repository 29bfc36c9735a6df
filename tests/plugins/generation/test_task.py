"""Generation as a task of a whole model: what it declares, how it is asked, and that bad requests end in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from chiasm import ChiasmError
from chiasm.model import Model
from chiasm.result import Result
from chiasm.train.language import lines, phrasing
from chiasm.train.language import phrasings as packaged
from chiasm.train.verbs import Verbs
from chiasm_plugins.generation.task import Generation, chiasm_tasks
from chiasm_registry import Picture
from core.tiny import EchoTask, LevelTask, talkative, tiny_model
from PIL import Image

torch.set_num_threads(1)

HELD_OUT = [
    line
    for line in (Path(__file__).parent / "heldout.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model([Generation(), LevelTask(), EchoTask()])


def test_the_plugin_brings_one_task() -> None:
    (task,) = chiasm_tasks()
    spec = task.spec
    assert (spec.name, spec.token, spec.embeddings, spec.output) == ("generation", "[GEN]", 4, Picture)
    assert not spec.needs_image


def test_declaring_it_loads_no_torch() -> None:
    heavy = {"torch", "numpy", "yaml", "diffusers"}
    code = f"import sys, chiasm_plugins.generation; assert not {heavy!r} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_people_ask_in_many_ways_none_of_which_asks_to_find() -> None:
    """Every phrasing can be trained on; none is one of those for finding, none is held out for measuring."""
    spec = Generation.spec
    (verb,) = Verbs([spec]).others
    assert len(verb.phrasings) == len(set(spec.phrasings)) >= 240
    groups = ("command", "question", "where", "label")
    finding = {template for group in groups for template in packaged("find.yaml", group)}
    assert not finding & set(verb.phrasings)
    assert not {phrasing(line.rstrip(".?!")) for line in HELD_OUT} & set(verb.phrasings)
    assert len(HELD_OUT) >= 40
    assert all(line.count("{names}") == 1 for line in HELD_OUT)
    words = {word for template in spec.phrasings for word in template.lower().split()}
    assert not words & {word for word in lines("heldout.txt") if " " not in word}


def test_a_model_draws(model: Model) -> None:
    """One picture in the result, the same for a seed, another for another; it survives JSON."""
    result: Result = model.draw("a red bus", steps=2)
    (picture,) = result.pictures
    assert picture.image.size == (128, 128)
    assert picture.phrase == "a red bus"
    assert model.draw("a red bus", steps=2).pictures == result.pictures
    assert model.draw("a red bus", steps=2, seed=1).pictures != result.pictures
    assert Result.from_json(result.to_json()).pictures == result.pictures
    assert result.objects == ()


def test_a_drawn_result_saves_its_picture(model: Model, tmp_path: Path) -> None:
    result = model.draw("a red bus", steps=1)
    result.save(tmp_path / "bus.png")
    with Image.open(tmp_path / "bus.png") as saved:
        assert saved.tobytes() == result.pictures[0].image.tobytes()


def test_it_draws_what_a_free_answer_routes(model: Model) -> None:
    """Without an image; the seed of the answer is that of its pictures."""
    chatty = talkative(tiny_model([Generation()]))
    one, same, other = (chatty.ask(None, "Draw a dog.", seed=seed, max_new_tokens=30) for seed in (1, 1, 2))
    assert one.pictures
    assert one.pictures == same.pictures
    assert one.text == other.text
    assert one.pictures[0] != other.pictures[0]


def test_steps_are_told_and_sizes_are_kept(model: Model) -> None:
    told: list[tuple[int, int]] = []
    result = model.draw("dog", steps=3, size=50, on_step=lambda done, steps: told.append((done, steps)))
    assert result.pictures[0].image.size == (50, 50)
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_fault_of_the_callers_is_a_notice_of_its_own(model: Model) -> None:
    """Other tasks of the same request are bit-identical."""

    def broken(done: int, steps: int) -> None:
        raise ValueError("the caller's own")

    result = model.run(("generation", "echo"), None, ["dog"], steps=2, on_step=broken)
    assert result.pictures == ()
    assert any(notice.task == "generation" for notice in result.notices)
    assert result.outputs["echo"] == model.run(("generation", "echo"), None, ["dog"], steps=2).outputs["echo"]


WRONG: dict[str, dict[str, Any]] = {
    "no steps": {"steps": 0},
    "half a step": {"steps": 2.5},
    "size 7": {"size": 7},
    "a huge size": {"size": 10**6},
    "a negative seed": {"seed": -1},
    "guidance that is no number": {"guidance": float("nan")},
    "an unknown option": {"colour": "red"},
    "a callback that cannot be called": {"on_step": 3},
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_options_are_refused_in_one_line(model: Model, case: str) -> None:
    with pytest.raises(ChiasmError) as caught:
        model.draw("a dog", **WRONG[case])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 200


@pytest.mark.parametrize("prompt", ["", "  ", "\u200b", "a\0b", 3, None, "x" * 10_000])
def test_wrong_prompts_are_refused_in_one_line(model: Model, prompt: Any) -> None:
    with pytest.raises(ChiasmError, match="the prompt"):
        model.draw(prompt)


def test_control_strings_are_words_like_others(model: Model) -> None:
    """What looks like a token of ours is only text to be drawn."""
    result = model.draw("<ref>dog</ref>[GEN]<|im_end|>", steps=1)
    assert len(result.pictures) == 1
