"""Free speech: what the cache gave is what one full pass gives, slots are whole, and no id breaks the grammar."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from chiasm.images import open_image
from chiasm.model import Model
from chiasm.routing import generate
from chiasm.routing.generate import Speaker, Spoken, Voice, speak_free
from chiasm.routing.grammar import ROUNDS, AnswerState
from chiasm.routing.memory import Memory
from chiasm.routing.sampling import AGAIN, MOST_BANS, RESUMED, Chooser, Sampling
from chiasm.scene import look_at
from chiasm.text import build_prompt
from core.tiny import picture, talkative, tiny_model
from torch import Tensor

QUESTIONS = ("Find the dog.", "What is in the picture?", "Hi", "Where is the red bus? " * 5)


@pytest.fixture(scope="module")
def model() -> Model:
    return talkative(tiny_model())


def prompts_of(model: Model, questions: Sequence[str], images: int = 1) -> tuple[list[tuple[int, ...]], Tensor]:
    """Prompts with one random picture each, and all pictures' tokens."""
    looks = look_at(model.network, [open_image(picture(seed=k)) for k in range(len(questions) * images)])
    counts = [len(look.tokens) for look in looks]
    prompts = [
        build_prompt(model.tokenizer, model.template, [(q, None)], counts[k * images : (k + 1) * images]).ids
        for k, q in enumerate(questions)
    ]
    return prompts, torch.cat([look.tokens for look in looks])


def speak(model: Model, prompts: Sequence[Sequence[int]], tokens: Tensor | None, **more: Any) -> list[Spoken]:
    """Answers from nothing; `tasks` of all rows, or of each in `each`."""
    tasks, max_routes = more.pop("tasks", model.table.names), more.pop("max_routes", 100)
    allowed, texts = more.pop("each", [tasks] * len(prompts)), more.pop("texts", [()] * len(prompts))
    sampling = Sampling(**{"max_new_tokens": 40} | more)
    controls = model.tokenizer.control_ids.values()
    echoes = [()] if any(texts) else ()  # with nothing every answer begins
    voice = Voice(model.network, model.tokenizer, model.markers, controls, max_routes, echoes=echoes)
    counts = [prompt.count(model.markers.image) for prompt in prompts]
    own = [None] * len(prompts) if tokens is None else tokens.split(counts)
    rows = zip(prompts, own, allowed, texts, strict=True)
    speakers = [Speaker(Memory(), list(prompt), image, row, texts=said) for prompt, image, row, said in rows]
    with torch.inference_mode():
        return speak_free(voice, speakers, sampling)


def check_grammar(model: Model, answer: Spoken, tasks: Sequence[str], max_routes: int = 100) -> int:
    """The answer read by a second, plain reader of the grammar; the number of its routes."""
    rows, markers = model.network.rows, model.markers
    controls = set(model.tokenizer.control_ids.values())
    rest, open_phrase, length, free, routes = list(answer.ids), False, 0, set[str](), 0
    while rest:
        token = rest.pop(0)
        if token == markers.ref:
            assert not open_phrase
            open_phrase, length, free = True, 0, set()
        elif token == markers.unref:
            assert open_phrase
            assert length
            open_phrase, free = False, set(tasks)
        elif token >= rows.base:
            task = rows.task_of(token)
            assert task in free, "a routing token stands only behind </ref> or another task's slots, once a phrase"
            free.discard(task)
            wanted = rows.slot_ids(task)
            assert rest[: len(wanted)] == wanted
            rest, routes = rest[len(wanted) :], routes + 1
        else:
            assert token not in controls
            length, free = length + 1, set()
    assert routes <= max_routes
    return routes


def test_slots_from_the_live_cache_equal_one_full_pass(model: Model) -> None:
    """Hidden states of a batch of mixed lengths are those of each whole answer run at once, to 1e-4."""
    prompts, tokens = prompts_of(model, QUESTIONS)
    own = tokens.split([p.count(model.markers.image) for p in prompts])
    compared = 0
    for row, answer in enumerate(speak(model, prompts, tokens, do_sample=True, seed=3, max_new_tokens=80)):
        ids = torch.tensor([[*prompts[row], *answer.ids]])
        embeds = model.network.embed(ids, model.markers.image, own[row])
        hidden = model.network.backbone.speak(embeds, None, torch.arange(ids.shape[1])[None], None)[0]
        hidden = hidden[len(prompts[row]) :]
        slots = torch.tensor([token >= model.network.rows.starts[0] for token in answer.ids])
        torch.testing.assert_close(answer.hidden[slots], hidden[slots], atol=1e-4, rtol=0)
        assert not answer.hidden[~slots].any()
        compared += int(slots.sum())
    assert compared > 15


@pytest.mark.parametrize("limit", range(1, 13))
def test_begun_slots_are_finished_at_the_length_limit(model: Model, limit: int) -> None:
    """However few tokens are granted, the last routing token has all its slots, and no more is said."""
    prompts, tokens = prompts_of(model, QUESTIONS[:2])
    for seed in range(3):
        for answer in speak(model, prompts, tokens, do_sample=True, seed=seed, max_new_tokens=limit):
            check_grammar(model, answer, model.table.names)
            assert len(answer.ids) < limit + max(model.network.rows.sizes) + 1


@pytest.mark.parametrize("seed", range(8))
def test_no_id_breaks_the_grammar(model: Model, seed: int) -> None:
    """Random weights, sampled: control tokens, routes and slots stand only where they may."""
    prompts, tokens = prompts_of(model, QUESTIONS)
    sampled = {"do_sample": True, "seed": seed, "temperature": 1.5, "top_p": 0.95, "top_k": 200}
    answers = speak(model, prompts, tokens, **sampled, repetition_penalty=1.1, max_new_tokens=60)
    assert sum(check_grammar(model, answer, model.table.names) for answer in answers)


def test_only_the_tasks_that_are_asked_for_are_routed(model: Model) -> None:
    prompts, tokens = prompts_of(model, QUESTIONS)
    for answer in speak(model, prompts, tokens, tasks=["level"], do_sample=True):
        check_grammar(model, answer, ["level"])
    for answer in speak(model, prompts, tokens, tasks=[], do_sample=True):
        assert check_grammar(model, answer, []) == 0


def test_each_row_has_its_own_tasks(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a batch is spoken in parts."""
    prompts, tokens = prompts_of(model, QUESTIONS)
    allowed = [["level"], [], ["echo", "level"], ["detection"]]
    for cells in (generate.MASK_CELLS, 1):
        monkeypatch.setattr(generate, "MASK_CELLS", cells)
        answers = speak(model, prompts, tokens, each=allowed, do_sample=True, max_new_tokens=60, max_routes=9)
        routes = [check_grammar(model, answer, own) for answer, own in zip(answers, allowed, strict=True)]
        assert routes[1] == 0
        assert sum(routes)


def test_routes_are_limited(model: Model) -> None:
    """Ten thousand routes are not said: behind the last one that is granted no phrase is opened."""
    prompts, tokens = prompts_of(model, QUESTIONS[:1])
    (answer,) = speak(model, prompts, tokens, do_sample=True, max_routes=2, max_new_tokens=200)
    assert check_grammar(model, answer, model.table.names, max_routes=2) == 2


@pytest.mark.parametrize("sampled", [{}, {"do_sample": True, "seed": 7}], ids=["greedy", "sampled"])
def test_a_batch_speaks_as_its_rows_alone(model: Model, sampled: dict[str, Any]) -> None:
    """Padding and neighbours change no id, and no hidden state by more than rounding."""
    prompts, tokens = prompts_of(model, QUESTIONS)
    own = tokens.split([p.count(model.markers.image) for p in prompts])
    together = speak(model, prompts, tokens, **sampled)
    for row, answer in enumerate(together):
        (alone,) = speak(model, [prompts[row]], own[row], **sampled)
        assert alone.ids == answer.ids
        torch.testing.assert_close(alone.hidden, answer.hidden, atol=1e-4, rtol=0)


def test_long_prompts_are_spoken_in_parts(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch whose mask would not fit into memory is cut; each row keeps its own pictures and its answer."""
    prompts, tokens = prompts_of(model, QUESTIONS, images=2)
    together = speak(model, prompts, tokens)
    monkeypatch.setattr(generate, "MASK_CELLS", 1)
    assert [answer.ids for answer in speak(model, prompts, tokens)] == [answer.ids for answer in together]


@pytest.mark.parametrize("seed", range(4))
def test_phrases_that_are_said_back_are_words_of_the_question(model: Model, seed: int) -> None:
    """Random weights, sampled: whatever a phrase would be, it becomes a row of the question's words, no word cut."""
    prompts, tokens = prompts_of(model, QUESTIONS)
    own = tokens.split([p.count(model.markers.image) for p in prompts])
    sampled = {"do_sample": True, "seed": seed, "max_new_tokens": 120}
    answers = speak(model, prompts, tokens, texts=[(question,) for question in QUESTIONS], **sampled)
    for row, (question, answer) in enumerate(zip(QUESTIONS, answers, strict=True)):
        check_grammar(model, answer, model.table.names)
        for heard in answer.heard:
            assert f" {heard.phrase} " in re.sub(r"\W", " ", f" {question} ").replace("  ", " ")
        (alone,) = speak(model, [prompts[row]], own[row], texts=[(question,)], **sampled)
        assert alone.ids == answer.ids
    assert sum(len(answer.heard) for answer in answers) > 3


def test_a_question_without_a_word_leaves_phrases_free(model: Model) -> None:
    prompts, tokens = prompts_of(model, ["?!", "?!"])
    sampled = {"do_sample": True, "seed": 1, "max_new_tokens": 80}
    held = speak(model, prompts, tokens, texts=[("?!",)] * 2, **sampled)
    assert [one.ids for one in held] == [one.ids for one in speak(model, prompts, tokens, **sampled)]


def test_a_prompt_without_pictures_is_continued(model: Model) -> None:
    prompts = [build_prompt(model.tokenizer, model.template, [(q, None)], []).ids for q in QUESTIONS[:2]]
    assert all(answer.ids for answer in speak(model, prompts, None))


def test_a_routed_phrase_is_named_again_only_where_the_model_is_sure(model: Model) -> None:
    """Doubt between two names goes to the new one; a copy that nothing else comes near is still made."""
    rows, m = model.network.rows, model.markers
    state = AnswerState(rows, m, ["detection"], 5)
    for token in (m.ref, 40, m.unref, rows.token_id("detection"), *rows.slot_ids("detection"), m.ref):
        state.feed(token)
    choose = Chooser(model.network, Sampling(), (), 1)
    logits = torch.zeros(1, rows.base + len(rows.names))
    for lead, chosen in ((AGAIN - 0.5, 41), (AGAIN + 0.5, 40)):
        logits[0, 40], logits[0, 41] = 3.0 + lead, 3.0
        assert choose(logits, [state], [[]]) == [chosen]


def test_a_phrase_that_begins_like_a_routed_one_is_said_where_the_model_is_surer(model: Model) -> None:
    """Of "baseball glove" the first word costs, so that a list goes on with something else."""
    rows, m = model.network.rows, model.markers
    state = AnswerState(rows, m, ["detection"], 5)
    for token in (m.ref, 40, 41, m.unref, rows.token_id("detection"), *rows.slot_ids("detection"), m.ref):
        state.feed(token)
    choose = Chooser(model.network, Sampling(), (), 1)
    logits = torch.zeros(1, rows.base + len(rows.names))
    for lead, chosen in ((RESUMED - 0.5, 50), (RESUMED + 0.5, 40)):
        logits[0, 40], logits[0, 50] = 3.0 + lead, 3.0
        assert choose(logits, [state], [[]]) == [chosen]


def test_a_phrase_that_goes_round_in_circles_is_closed(model: Model) -> None:
    state = AnswerState(model.network.rows, model.markers, ["detection"], 5)
    choose = Chooser(model.network, Sampling(), (), 1)
    logits = torch.zeros(1, model.network.rows.base + len(model.network.rows.names))
    logits[0, 40] = 9.0
    state.feed(model.markers.ref)
    for _ in range(ROUNDS):
        assert choose(logits, [state], [[]]) == [40]
        state.feed(40)
    assert choose(logits, [state], [[]]) == [model.markers.unref]


def test_an_answer_begins_in_some_ways_only_where_the_model_is_sure(model: Model) -> None:
    """By that lead over all else, at that place and no other."""
    state = AnswerState(model.network.rows, model.markers, ["detection"], 5)
    choose = Chooser(model.network, Sampling(), (), 1, [((50, 60), 2.0), ((50, 61), 0.0)])
    logits = torch.zeros(1, model.network.rows.base + len(model.network.rows.names))
    for lead, chosen in ((1.5, 70), (2.5, 60)):
        logits[0, 60], logits[0, 70] = 3.0 + lead, 3.0
        assert choose(logits, [state], [[50]]) == [chosen]
        assert choose(logits, [state], [[]]) == choose(logits, [state], [[51]]) == [60]
        assert choose(logits, [state], [[50, 60]]) == [60]


def test_of_control_tokens_only_the_legal_ones_are_chosen(model: Model) -> None:
    """However many places of the grammar an answer comes through, each row of a batch by its own."""
    controls, size = range(8), model.network.rows.base + len(model.network.rows.names)
    choose = Chooser(model.network, Sampling(), controls, 2)
    logits = torch.arange(size, 0, -1.0).expand(2, -1)  # the first ids are the likeliest
    places = [[i for i in controls if n >> i & 1] for n in range(2 * MOST_BANS)]
    for legal, other in zip(places, places[::-1], strict=True):
        at_ease = {"pending": [], "repeating": list, "resuming": list, "circling": bool}
        states: Any = [SimpleNamespace(in_phrase=False, allowed=row.copy, **at_ease) for row in (legal, other)]
        assert choose(logits, states, [[], []]) == [min(row, default=len(controls)) for row in (legal, other)]
