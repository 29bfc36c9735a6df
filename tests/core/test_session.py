"""Conversations: what is new is run, and nothing else; what was said before counts."""

from __future__ import annotations

import torch
from chiasm.model import Model
from core.talks import SAMPLED, SHORT, TALK, looks, memory, passes, talk
from core.talks import model as model
from core.test_model import same
from core.tiny import picture


def test_the_second_turn_runs_its_new_tokens_only(model: Model) -> None:
    """One pass for what closes the last answer and the question, then one for each id that is said."""
    session = model.chat()
    with passes(model) as first:
        session.ask(*TALK[0], **SAMPLED)
    past, unfed = len(memory(session).ids), len(memory(session).unfed)
    assert first[0] > 16  # the picture's tokens
    assert past == sum(first)
    with passes(model) as second:
        session.ask(*TALK[1], **SAMPLED)
    words = model.template
    around = [words.close + words.user_open, words.close + words.assistant_open]
    new = sum(len(model.tokenizer.encode_template(text)) for text in around)
    assert second[0] == unfed + new + len(model.tokenizer.encode_user("And the cat?"))
    assert set(second[1:]) == {1}
    assert len(memory(session).ids) == past + sum(second)


@torch.inference_mode()
def test_the_kept_cache_equals_a_full_run(model: Model) -> None:
    """After four turns with three pictures every key and value, and what would be said next, to 1e-4."""
    session = model.chat()
    results = talk(session)
    assert sum(len(given) for result in results[1:] for given in result.outputs.values()) > 1
    kept = memory(session)
    ids = torch.tensor([kept.ids])
    network, seen = model.network, [look for turn in looks(model) for look in turn]
    tokens = torch.cat([look.tokens for look in seen])
    from transformers import DynamicCache

    whole = DynamicCache()
    embeds = network.embed(ids, model.markers.image, tokens)
    network.backbone.speak(embeds, None, torch.arange(len(kept.ids))[None], whole)
    assert len(whole.layers) == len(kept.cache.layers) == 2
    for mine, theirs in zip(kept.cache.layers, whole.layers, strict=True):
        torch.testing.assert_close(mine.keys, theirs.keys, atol=1e-4, rtol=0)
        torch.testing.assert_close(mine.values, theirs.values, atol=1e-4, rtol=0)


def test_the_first_turn_is_an_ask(model: Model) -> None:
    for text, image in TALK:
        same(model.chat().ask(text, image, **SAMPLED), model.ask(image, text, **SAMPLED))


def test_what_was_said_before_counts(model: Model) -> None:
    """The same question has another answer behind another picture."""
    answers = set()
    for seed in range(3):
        session = model.chat()
        session.ask("Find the dog.", picture(60, 40, seed), **SAMPLED)
        answers.add(session.ask("And?", **SAMPLED).text)
    assert len(answers) > 1


def test_things_are_looked_for_in_the_image_shown_last(model: Model) -> None:
    sizes = [result.size_hw for result in talk(model.chat())]
    assert sizes == [(40, 60), (40, 60), (60, 300), (60, 300)]
    assert model.chat().ask("Hi", **SHORT).size_hw is None


def test_without_an_image_so_far_nothing_is_routed_that_needs_one(model: Model) -> None:
    for seed in range(4):
        result = model.chat().ask("Hi", **(SAMPLED | {"seed": seed}))
        assert set(result.outputs) <= {"echo"}
