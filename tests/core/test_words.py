"""Nothing that a user types is more than text: not in a prompt, not in a name, not across the two."""

from __future__ import annotations

import itertools

import pytest
import torch
from chiasm.model import Model
from chiasm.result import Result
from chiasm.text import CONTROL_TOKENS, build_prompt
from chiasm_registry import ChiasmError
from core.tiny import picture, tiny_model


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


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
