"""Templates: the official strings to the letter, and a layout that is data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chiasm.text import TEMPLATES, Placed, Turn, place_images, render, video_question
from chiasm_registry.errors import ChiasmError, InputError


def test_nano_has_no_system_message_and_images_stand_first() -> None:
    turns = [("What is it?", "A dog."), ("And now?", None)]
    assert render("nano", turns, image_tokens=[2]) == (
        "<|im_start|>user\n<img><IMG_CONTEXT><IMG_CONTEXT></img>\nWhat is it?<|im_end|>"
        "<|im_start|>assistant\nA dog.<|im_end|>"
        "<|im_start|>user\nAnd now?<|im_end|><|im_start|>assistant\n"
    )


def test_each_template_says_what_ends_an_answer() -> None:
    assert {name: template.stop for name, template in TEMPLATES.items()} == {
        "nano": "<|im_end|>",
        "internlm2-chat": "<|im_end|>",
        "Hermes-2": "<|im_end|>",
        "phi3-chat": "<|end|>",
        "internvl2_5": "<|im_end|>",
        "internvl_zh": "</s>",
        "vicuna": "</s>",
        "mistral": "</s>",
        "qwen2-vl": "<|im_end|>",
        "blip2": "</s>",
    }


def test_an_unknown_template_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ChiasmError, match="no template 'zephyr'; there are nano"):
        render("zephyr", [("Hello", None)])


def test_a_template_without_system_messages_refuses_one() -> None:
    with pytest.raises(ChiasmError, match="takes no system message"):
        render("nano", [("Hello", None)], system="Be brief.")


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("vicuna", "USER: II\nWhat? ASSISTANT:", " A dog.</s>USER: And? ASSISTANT:"),
        ("mistral", "[INST] II\nWhat? [/INST]", " A dog.</s>[INST] And? [/INST]"),
        (
            "qwen2-vl",
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
            "<|im_start|>user\n<img>II</img>What?<|im_end|>\n<|im_start|>assistant\n",
            "A dog.<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n",
        ),
        ("blip2", "II</s>Question: What? Answer:", "A dog.</s>Question: And? Answer:"),
    ],
)
def test_other_designs_are_spoken_to_as_their_cards_say(name: str, first: str, second: str) -> None:
    """`II` stands for two image tokens."""
    mark = lambda text: text.replace("II", "<IMG_CONTEXT>" * 2)  # noqa: E731
    assert render(name, [("What?", None)], image_tokens=[2]) == mark(first)
    assert render(name, [("What?", "A dog."), ("And?", None)], image_tokens=[2]) == mark(first + second)


def test_a_user_may_write_braces() -> None:
    assert "{question} {0} %s" in render("Hermes-2", [("{question} {0} %s", None)])


def test_official_prompts_are_rendered_to_the_letter(shared: Path) -> None:
    rows = json.loads((shared / "golden" / "prompts.json").read_text(encoding="utf-8"))["rows"]
    rows = [row for row in rows if row["template"] in TEMPLATES]
    assert len(rows) == 95
    for row in rows:
        turns = [*((q, a) for q, a in row["history"] or []), (row["question"], None)]
        if row["case"] == "one_turn_image_not_placed":  # the official chat() writes the place itself
            turns = [("<image>\n" + row["question"], None)]
        system = "You are a test." if row["case"] == "system_override" else None
        assert render(row["template"], turns, system) == row["prompt"], row["case"]


# what the official chat() sends with a wrong number of image tokens; here it is refused, or never asked
MISCOUNTED = {"more_images_than_placeholders", "history_image_not_placed"}


def test_official_prompts_with_images_are_expanded_to_the_letter(shared: Path) -> None:
    """Images stand where `<image>` is written, in every turn; a template's own lines and a user's words stay apart."""
    rows = json.loads((shared / "golden" / "prompts.json").read_text(encoding="utf-8"))["rows"]
    rows = [row for row in rows if row["case"] not in MISCOUNTED]
    assert len(rows) == 85
    for row in rows:
        images = [tiles * row["num_image_token"] for tiles in row["num_patches_list"] or []]
        turns: list[Turn] = []
        for question, answer in [*(row["history"] or []), (row["question"], None)]:
            own = max(question.count("<image>"), 0 if row["history"] else len(images))
            turns.append((place_images(question, images[:own]), answer))
            images = images[own:]
        system = "You are a test." if row["case"] == "system_override" else None
        assert render(row["template"], turns, system) == row["expanded"], (row["template"], row["case"])


def test_fewer_places_than_images_are_refused_and_surplus_places_stay_words() -> None:
    with pytest.raises(InputError, match="2 images, but the text has 1 times '<image>'"):
        place_images("<image> and?", [4, 4])
    assert place_images("a <image> b <image>", [4]) == Placed(("a ", 4, " b <image>"))
    assert place_images("a", [4, 5]) == Placed((4, "\n", 5, "\n", "a"))


def test_a_video_is_asked_about_as_numbered_frames() -> None:
    assert video_question("Why?", 2) == "Frame1: <image>\nFrame2: <image>\nWhy?"
