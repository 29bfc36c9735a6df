"""Every way to hold a conversation gives what a plain one gives: forks, batches, histories from elsewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import chiasm
import pytest
import torch
from chiasm.model import Model
from chiasm.session import Session
from chiasm.text import TEMPLATES
from chiasm_registry import ChiasmError, hookimpl
from core.talks import SAMPLED, SHORT, TALK, looks, memory, passes, talk
from core.talks import model as model
from core.test_model import same
from core.tiny import LevelTask, picture, talkative, tiny_model


@pytest.mark.parametrize("settings", [SHORT, SAMPLED], ids=["greedy", "sampled"])
def test_two_sessions_interleaved_give_what_each_gives_alone(model: Model, settings: dict[str, Any]) -> None:
    other = [("Hi", None), ("Where is the red bus? " * 5, picture(90, 90, 7)), ("Why?", None), ("Find it.", None)]
    alone, theirs = talk(model.chat(), **settings), talk(model.chat(), other, **settings)
    first, second = model.chat(), model.chat()
    for k in range(4):
        same(first.ask(*TALK[k], **(SAMPLED | settings)), alone[k])
        same(second.ask(*other[k], **(SAMPLED | settings)), theirs[k])


def test_a_fork_goes_on_without_the_other(model: Model) -> None:
    plain = talk(model.chat())
    session = model.chat()
    talk(session, TALK[:2])
    fork = session.fork()
    aside = fork.ask("Something else: a cup?", picture(20, 20, 9), **SAMPLED)
    for k in (2, 3):
        same(session.ask(*TALK[k], **SAMPLED), plain[k])
    assert [question for question, _ in fork.turns] == ["Find the dog.", "And the cat?", "Something else: a cup?"]
    assert fork.turns[-1][1] == aside
    assert len(session.turns) == 4


@pytest.mark.parametrize("settings", [SHORT, SAMPLED], ids=["greedy", "sampled"])
def test_a_batch_of_conversations_equals_single_ones(model: Model, settings: dict[str, Any]) -> None:
    """Different lengths, with and without images, one of them ending early by a stop string; turn by turn."""
    turns: list[list[tuple[str, Any]]] = [
        TALK,
        [("Hi", None), ("Where is the red bus? " * 5, picture(90, 90, 7)), ("Why?", None), ("Find it.", None)],
        [("Find the cup. " * 7, picture(20, 20, 4)), ("?", None), ("Dog", picture(56, 56, 5)), ("Cat", None)],
    ]
    settings = SAMPLED | settings
    single = [model.chat() for _ in turns]
    batch = model.chat()
    for k in range(4):
        stops = {"stop_strings": ["e"]} if k == 1 else {}
        alone = [one.ask(*own[k], **settings, **stops) for one, own in zip(single, turns, strict=True)]
        results = batch.ask([own[k][0] for own in turns], [own[k][1] for own in turns], **settings, **stops)
        for mine, theirs in zip(results, alone, strict=True):
            same(mine, theirs)
    for row, one in enumerate(single):
        mine, theirs = batch._threads[row].memory, memory(one)
        assert [*mine.ids, *mine.unfed] == [*theirs.ids, *theirs.unfed]
        both = min(len(mine.ids), len(theirs.ids))  # beside a longer row the last id is fed at once
        assert max(len(mine.ids), len(theirs.ids)) <= both + 1
        keys = [one.cache.layers[1].keys[:, :, :both] for one in (mine, theirs)]
        torch.testing.assert_close(*keys, atol=1e-4, rtol=0)


def test_sessions_at_different_turns_are_asked_together(model: Model) -> None:
    alone = [model.chat() for _ in range(3)]
    grouped = [model.chat() for _ in range(3)]
    for k in range(3):
        talk(alone[k], TALK[:k])
        talk(grouped[k], TALK[:k])
    batch = Session.together(grouped)
    for mine, theirs in zip(batch.ask("Find the dog.", **SAMPLED), alone, strict=True):
        same(mine, theirs.ask("Find the dog.", **SAMPLED))
    same(grouped[2].ask("And?", **SAMPLED), alone[2].ask("And?", **SAMPLED))
    assert [len(turns) for turns in batch.turns] == [1, 2, 4]


def test_a_list_makes_a_batch_and_one_question_is_shared(model: Model) -> None:
    session = model.chat()
    images = [picture(60, 40, 1), picture(50, 50, 2)]
    first = session.ask("Find the dog.", images, **SAMPLED)
    second = session.ask("And the cat?", **SAMPLED)
    for k in range(2):
        one = model.chat()
        same(first[k], one.ask("Find the dog.", images[k], **SAMPLED))
        same(second[k], one.ask("And the cat?", **SAMPLED))
    assert model.chat().ask([], [], **SHORT) == []


def test_history_from_elsewhere_stands_before_the_question(model: Model) -> None:
    """It is what a conversation that was said here in the same words is fed."""
    session = model.chat(history=[("Hi", "a dog"), ("And?", "a cat")])
    with passes(model) as counts:
        session.ask("Where?", picture(), **SHORT)
    seen = next(looks(model))
    words, encode = model.template, model.tokenizer.encode_template
    said = "".join(
        f"{words.user_open}{q}{words.close}{words.assistant_open}{a}{words.close}"
        for q, a in [("Hi", "a dog"), ("And?", "a cat")]
    )
    tail = encode(f"{words.user_open}<img></img>\nWhere?{words.close}{words.assistant_open}")
    assert counts[0] == len(encode(said)) + len(tail) + len(seen[0].tokens)
    fed = [i for i in memory(session).ids if i != model.markers.image]
    assert fed[: len(encode(said)) + len(tail)] == [*encode(said), *tail]


@pytest.mark.parametrize("size", ["1b", "2b", "4b", "40b"])
def test_official_histories_are_fed_to_the_letter(shared: Path, size: str) -> None:
    """What the official chat() feeds for a history with and without an image."""
    folder = shared / "golden" / f"internvl2-{size}"
    official, tried = chiasm.load(folder, tasks=[]), 0
    for row in json.loads((folder / "golden_chat.json").read_text(encoding="utf-8")):
        if row["history_in"] and row["num_patches_list"] in (None, [1]):
            images = [picture(8, 8)] if row["num_patches_list"] else []
            session = official.chat(history=[tuple(turn) for turn in row["history_in"]], images=images)
            session.ask(row["question"], max_new_tokens=1)
            fed = memory(session).ids
            assert fed[: len(row["input_ids"])] == row["input_ids"]
            assert len(fed) <= len(row["input_ids"]) + 1
            tried += 1
    assert tried == 2


@pytest.mark.parametrize("size", ["2b", "4b"])
def test_a_scale_that_follows_the_length_is_not_changed_by_neighbours(shared: Path, size: str) -> None:
    """Rotary positions that stretch beyond 64: batches, sessions in turn and guided phrases are as they are alone."""
    stretched = chiasm.load(shared / "golden" / f"internvl2-{size}", plugins=[Fakes()], tasks=["level"])
    texts = ["Hello " * 30, "short", "mid " * 12]
    alone = [stretched.ask(None, text, max_new_tokens=12).text for text in texts]
    assert [result.text for result in stretched.ask([None] * 3, texts, max_new_tokens=12)] == alone
    first, second = stretched.chat(), stretched.chat()
    assert [first.ask(texts[0], max_new_tokens=12).text, second.ask(texts[1], max_new_tokens=12).text] == alone[:2]
    names = ["dog", "a rather long name of a thing " * 3, "cat"]
    together = stretched.run("level", picture(8, 8), names).outputs["level"]
    for name, output in zip(names, together, strict=True):
        (one,) = stretched.run("level", picture(8, 8), [name]).outputs["level"]
        assert one.slots == pytest.approx(output.slots, abs=1e-3)


class Fakes:
    """A plugin."""

    @hookimpl
    def chiasm_tasks(self) -> Any:
        return [LevelTask()]


def test_images_stand_where_the_question_says(model: Model) -> None:
    """`<image>` in a question or in a history is a place; without one they stand in front."""
    session = model.chat()
    session.ask("First <image> then <image> what?", (picture(56, 56, 1), picture(56, 56, 2)), **SHORT)
    fed, count = memory(session).ids, model.network.backbone.tokens_per_tile
    image = [model.tokenizer.id_of("<img>"), *[model.markers.image] * count, model.tokenizer.id_of("</img>")]
    encode, words = model.tokenizer.encode_template, model.template
    begin = [*encode(words.user_open + "First "), *image, *encode(" then "), *image, *encode(" what?")]
    assert fed[: len(begin)] == begin
    with pytest.raises(ChiasmError, match="2 images, but the text has 1 times"):
        session.ask("One <image>", (picture(56, 56, 1), picture(56, 56, 2)), **SHORT)
    told = model.chat(history=[("Hi", "A dog"), ("See <image>", "A cat")], images=[picture(30, 50)])
    assert told.ask("Where?", **SHORT).size_hw == (50, 30)
    history = [("<image>A?", "A"), ("<image>B?", "B"), ("C?", "C")]
    both = model.chat(history=history, images=[picture(), picture(30, 50)])
    assert both.ask("Where?", **SHORT).size_hw == (50, 30)  # what was shown last
    with pytest.raises(ChiasmError, match="1 images, but the history has 2 times"):
        model.chat(history=[("<image><image>", "A dog")], images=[picture()])


def test_what_was_fed_can_be_seen(model: Model) -> None:
    """Every turn with its images and answers, in the words of `Model.render` and of the answer; also of a batch."""
    session = model.chat()
    assert session.render() == ""
    session.ask(*TALK[0], **SAMPLED)
    session.ask(*TALK[1], **SAMPLED)
    fed = session.render()
    assert fed.startswith("<|im_start|>user\n<img><IMG_CONTEXT>")
    assert "</img>\nFind the dog.<|im_end|><|im_start|>assistant\n" in fed
    assert "<|im_end|><|im_start|>user\nAnd the cat?<|im_end|><|im_start|>assistant\n" in fed
    kept = [i for i in memory(session).ids if i < model.network.rows.starts[0]]
    assert model.tokenizer.decode(kept) == fed.removesuffix(model.tokenizer.decode(memory(session).unfed))
    batch = model.chat()
    batch.ask(["Hi", "Find the dog."], **SHORT)
    assert ["Hi" in batch.render()[0], "Find the dog." in batch.render()[1]] == [True, True]


def test_routing_tokens_are_seen_where_the_embedding_has_more_rows_than_there_are_tokens() -> None:
    """A routing token's id is the model's there, not the tokenizer's."""
    for rows in (None, 2048):
        padded = talkative(tiny_model(vocabulary=rows) if rows else tiny_model())
        session = padded.chat()
        session.ask(*TALK[0], **(SAMPLED | {"max_new_tokens": 80}))
        said = [padded.network.rows.task_of(i) for i in memory(session).ids]
        tokens = [padded.table.by_name(name).token for name in said if name is not None]
        assert tokens
        assert [token for token in re.findall(r"\[[A-Z]+\]", session.render()) if token in tokens] == tokens


def test_a_system_message_is_said_once(model: Model) -> None:
    official = Model(**{**vars(tiny_model()), "template": TEMPLATES["internlm2-chat"]})
    session = official.chat(system="Be brief.")
    for _ in range(2):
        session.ask("Hi", **SHORT)
    spelled = official.tokenizer.decode(memory(session).ids)
    assert spelled.count("Be brief.") == 1
    assert spelled.startswith("<|im_start|>system\nBe brief.<|im_end|><|im_start|>user\nHi")
