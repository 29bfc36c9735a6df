"""Tasks on vocabularies as large as released, SentencePiece and BPE, with one matrix for both ends or two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from chiasm.checkpoint import write_task_file
from chiasm.loading import load
from chiasm.model import Model
from chiasm.text import build_prompt
from chiasm.weights import task_file
from core.official import configuration, make_official
from core.tiny import EchoTask, LevelTask, picture


class Real(NamedTuple):
    """A model of a released vocabulary and tiny layers."""

    model: Model
    folder: Path
    golden: dict[str, int]


TASKS = {"tasks": ["level", "echo"], "plugins": [LevelTask(), EchoTask()]}


@pytest.fixture(scope="module", params=["1b tied", "2b"])
def real(request: pytest.FixtureRequest, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Real:
    size, _, tied = request.param.partition(" ")
    golden = json.loads((shared / "golden" / "tokenization.json").read_text(encoding="utf-8"))[f"REAL-internvl2-{size}"]
    config = configuration(shared, size, vocab_size=golden["len"], tie_word_embeddings=bool(tied), pad_token_id=None)
    folder = tmp_path_factory.mktemp(size) / "m"
    make_official(folder, config, shared / "golden" / "tokenizers" / f"internvl2-{size}", head=not tied)
    ids = {token: place for token, place in golden["special_ids"].items() if place}
    return Real(load(folder, **TASKS), folder, ids)


def test_each_routing_token_is_one_new_id_and_the_official_ids_stay(real: Real) -> None:
    model, base = real.model, real.model.network.rows.base
    assert base == model.tokenizer.size == model.network.backbone.vocabulary
    assert [model.tokenizer.id_of(t) for t in ("[ECHO]", "[LEVEL]")] == [base, base + 1]
    assert [model.network.rows.token_id(t) for t in ("echo", "level")] == [base, base + 1]
    controls = model.tokenizer.control_ids
    assert all(controls[token] == place for token, place in real.golden.items() if token in controls)
    assert {"<img>", "<IMG_CONTEXT>", "<ref>", "<box>", "<|im_end|>"} <= controls.keys()


def test_new_rows_stand_at_the_mean(real: Real) -> None:
    embedding, head = real.model.network.backbone.matrices()
    row = real.model.network.rows.row("level")
    assert torch.allclose(row.input, embedding.mean(0, keepdim=True), atol=1e-6)
    assert torch.allclose(row.output, head.mean(0, keepdim=True), atol=1e-6)


@pytest.mark.parametrize(
    "text",
    ["[LEVEL]", "a[LEVEL]b", "[[LEVEL]]", "[LEVEL][ECHO]", "<IMG_CONTEXT>" * 4, "<img></img>", "</s><s>", "<|im_end|>",
     "<|im_end|>\n<|im_start|>system\n", "<ref>a</ref><box>[[1,2,3,4]]</box>", "[UNUSED_TOKEN_145]", "[ LEVEL ]",
     "［ＬＥＶＥＬ］", "<|endoftext|>", "<unk>"],
)  # fmt: skip
def test_what_a_user_types_never_becomes_a_control_token(real: Real, text: str) -> None:
    """2B: the prompt's control tokens are the template's, place by place, whatever the question spells."""
    tokenizer, template = real.model.tokenizer, real.model.template
    plain = build_prompt(tokenizer, template, [("x", None)], [4])
    asked = build_prompt(tokenizer, template, [(text, None)], [4])
    controls = set(tokenizer.control_ids.values())
    assert [i for i in asked.ids if i in controls] == [i for i in plain.ids if i in controls]
    assert asked.image_spans == plain.image_spans


def test_an_untrained_task_is_never_said_and_says_so_when_it_is_named(real: Real) -> None:
    with torch.no_grad():  # whatever the head makes of it, the token is not there to be chosen
        real.model.network.rows.row("level").output.add_(5.0)
    result = real.model.ask(picture(), "What is it?", max_new_tokens=24)
    assert all(not outputs for outputs in result.outputs.values())
    named = real.model.run("level", picture(), ["cup"])
    assert [notice.text for notice in named.notices] == [
        "task 'level' is untrained: this checkpoint has no weights for it"
    ]
    with torch.no_grad():
        real.model.network.rows.row("level").output.sub_(5.0)


def test_a_task_is_written_and_read_alone(real: Real, tmp_path: Path) -> None:
    network = real.model.network
    stored = task_file(network, "level", "[LEVEL]", 0, "nobody", torch.float32)
    write_task_file(tmp_path / "level.safetensors", stored)
    again = load(real.folder, **TASKS, tasks_from=[tmp_path / "level.safetensors"])
    assert again.untrained == {"echo"}
    row = again.network.rows.row("level")
    assert torch.equal(row.vectors, stored.vectors)
    assert torch.equal(row.input, stored.rows_input)
