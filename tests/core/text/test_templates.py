"""Templates: the official strings to the letter, and a layout that is data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from chiasm.text import TEMPLATES, render
from chiasm_registry.errors import ChiasmError


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
    }


def test_an_unknown_template_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ChiasmError, match="no template 'vicuna'; there are nano"):
        render("vicuna", [("Hello", None)])


def test_a_template_without_system_messages_refuses_one() -> None:
    with pytest.raises(ChiasmError, match="takes no system message"):
        render("nano", [("Hello", None)], system="Be brief.")


def test_a_user_may_write_braces() -> None:
    assert "{question} {0} %s" in render("Hermes-2", [("{question} {0} %s", None)])


def test_official_prompts_are_rendered_to_the_letter(shared: Path) -> None:
    rows = json.loads((shared / "golden" / "prompts.json").read_text(encoding="utf-8"))["rows"]
    rows = [row for row in rows if row["template"] in TEMPLATES]
    assert len(rows) == 57
    for row in rows:
        turns = [*((q, a) for q, a in row["history"] or []), (row["question"], None)]
        if row["case"] == "one_turn_image_not_placed":  # the official chat() writes the place itself
            turns = [("<image>\n" + row["question"], None)]
        system = "You are a test." if row["case"] == "system_override" else None
        assert render(row["template"], turns, system) == row["prompt"], row["case"]


def test_official_prompts_with_images_in_front_are_expanded_to_the_letter(shared: Path) -> None:
    cases = {"one_turn_image_placed", "one_turn_image_not_placed", "three_turns_image_first", "unicode"}
    rows = json.loads((shared / "golden" / "prompts.json").read_text(encoding="utf-8"))["rows"]
    rows = [row for row in rows if row["template"] in TEMPLATES and row["case"] in cases]
    assert len(rows) == 12
    for row in rows:
        turns = [*((q, a) for q, a in row["history"] or []), (row["question"], None)]
        turns[0] = (turns[0][0].removeprefix("<image>\n"), turns[0][1])
        image_tokens = [tiles * row["num_image_token"] for tiles in row["num_patches_list"]]
        assert render(row["template"], turns, image_tokens=image_tokens) == row["expanded"], row["case"]
