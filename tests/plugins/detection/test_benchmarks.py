"""The benchmarks measure what they say: `bare` answers as `detect` does, boxes and scores find their partners."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from chiasm import Object, Result
from chiasm.assemble import assemble, markers_of
from chiasm.model import Model
from chiasm.text import TEMPLATES, train_tokenizer
from chiasm.weights import start_tasks
from chiasm_plugins.detection.decoder import PRESENCE
from chiasm_registry import Box, TaskTable, discover
from house import ROOT
from PIL import Image

NAMES = ["cat", "traffic light", "dog"]


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    torch.manual_seed(0)
    return Image.fromarray((torch.rand(90, 120, 3) * 255).byte().numpy())


@pytest.fixture(scope="module")
def model() -> Model:
    """A model of nano's sizes with random weights."""
    config = yaml.safe_load((ROOT / "core/chiasm/models/nano/train/1-words.yaml").read_text())["model"]
    tokenizer = train_tokenizer([" ".join(NAMES)], 512).with_tasks(["[DET]"])
    tasks = {"detection": discover().task("detection")}
    table, template = TaskTable.build(list(tasks.values())), TEMPLATES["nano"]
    sizes = {**config["internvl"], "image_token_id": tokenizer.id_of("<IMG_CONTEXT>")}
    sizes["text_config"] = {**sizes["text_config"], "vocab_size": tokenizer.size}
    torch.manual_seed(0)
    network = assemble({"internvl": sizes, "trunk": True, "max_tiles": 1}, table, tasks)
    start_tasks(network, ["detection"])
    network.requires_grad_(False).eval()
    return Model(network, table, tokenizer, template, markers_of(tokenizer, template), "Find what is named.")


def test_the_bare_modules_answer_as_detect_does(model: Model, picture: Image.Image) -> None:
    """So the difference in time is the platform's and nothing else."""
    from bare import Bare

    boxes, logits, presence = Bare(model, picture, NAMES)()
    scores = logits.sigmoid() ** (1 - PRESENCE) * presence[:, None].sigmoid() ** PRESENCE
    result = model.detect(picture, NAMES, threshold=0.0)
    scale = torch.tensor([120 / 448, 90 / 448] * 2)
    for k, output in enumerate(result.outputs["detection"]):
        best = output.items[0]
        assert best.score == pytest.approx(float(scores[k].max()), abs=1e-5)
        wanted = (boxes[scores[k].argmax()] * scale).clamp(min=0).minimum(torch.tensor([120.0, 90.0] * 2))
        assert best.box.xyxy == pytest.approx(wanted.tolist(), abs=0.05)


def test_detect_and_its_modules_are_measured_in_one_run(model: Model, picture: Image.Image) -> None:
    from detect import compare
    from measure import as_json, as_text

    rows = compare(model, picture, NAMES, runs=1)
    assert [row.what for row in rows] == ["chiasm detect", "its bare modules"]
    assert all(0 < row.best_s <= row.median_s for row in rows)
    assert "its bare modules" in as_text(rows, [])
    assert json.loads(as_json(rows, {"names": 3}))["rows"][1]["runs"] == 1


def test_calls_take_turns() -> None:
    from measure import take_turns

    said: list[str] = []
    rows = take_turns({"a": lambda: said.append("a"), "b": lambda: said.append("b")}, runs=2)
    assert said == ["a", "b"] * 3
    assert [row.runs for row in rows] == [2, 2]


def test_the_peer_gets_the_same_names_and_picture(picture: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    import peer
    from transformers import GroundingDinoConfig

    monkeypatch.setattr(peer, "SHORT_SIDE", 64)
    swin = {"model_type": "swin", "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4}
    swin["out_indices"] = [2, 3, 4]
    bert = {"model_type": "bert", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    size: dict[str, Any] = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "num_queries": 9}
    size |= {"encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = GroundingDinoConfig(backbone_config=swin, text_config={**bert, "intermediate_size": 16}, **size)
    boxes, logits = peer.GroundingDino(picture, NAMES, config)()
    assert boxes.shape == (1, 9, 4)
    assert peer.text_ids(NAMES) == [101, 2000, 1012, 2001, 2002, 1012, 2003, 1012, 102]
    assert torch.isfinite(logits[..., : len(peer.text_ids(NAMES))]).all()
    assert peer.pixels(picture).shape == (1, 3, 64, 85)


def _thing(label: str, *xyxy: float) -> Object:
    return Object(label=label, score=0.5, box=Box(xyxy=xyxy), task="detection")


def test_boxes_are_matched_within_a_label_the_closest_first() -> None:
    """A box has one partner at most; one of another label, or too far away, is none."""
    from agreement import match

    ours = [_thing("cat", 0, 0, 10, 10), _thing("cat", 0, 0, 10, 8), _thing("dog", 50, 50, 60, 60)]
    theirs = [_thing("cat", 0, 0, 20, 18), _thing("cup", 100, 100, 120, 120), _thing("dog", 100, 114, 120, 134)]
    found = match(ours, theirs, scale=2)
    assert found.ious == pytest.approx([0.9])  # with the whole cat; its smaller box, at 8/9, stays alone
    assert found.alone == 4
    assert match(ours, ours).ious == (1.0, 1.0, 1.0)
    assert match([], theirs).alone == 3


def test_scores_are_compared_best_against_best() -> None:
    """A score that the other list does not have was below its floor there."""
    from agreement import score_difference

    assert score_difference([], [], 0.05) == 0
    assert score_difference([0.3, 0.9], [0.9, 0.31], 0.05) == pytest.approx(0.01)
    assert score_difference([0.9, 0.06], [0.9], 0.05) == pytest.approx(0.01)
    assert score_difference([], [0.7], 0.05) == pytest.approx(0.65)


def test_answers_differ_by_text_label_or_edge() -> None:
    from agreement import box_difference_px, same_words

    one, moved, other = (
        Result(size_hw=(90, 120), text="a cat", objects=(thing,))
        for thing in (_thing("cat", 1, 2, 30, 40), _thing("cat", 1, 2, 30.25, 40), _thing("dog", 1, 2, 30, 40))
    )
    assert same_words(one, moved)
    assert not same_words(one, other)
    assert not same_words(one, one.model_copy(update={"text": "a dog"}))
    assert box_difference_px(one, moved) == 0.25


def test_company_changes_no_score(model: Model, picture: Image.Image) -> None:
    from promises import as_json, as_text, company, twice_the_size

    rows = [company(model, [picture], NAMES), *twice_the_size(model, [picture], NAMES)]
    assert rows[0].kept
    assert rows[0].what.startswith("a phrase alone, among 3,")
    assert json.loads(as_json(rows, {"model": "random"}))["promises"][0]["wanted"] == "at most 0.0001"
    assert "NOT KEPT" in as_text([dataclasses.replace(rows[0], kept=False, notes=("why",))], 1)


def test_no_question_is_one_that_was_trained() -> None:
    """Neither those that want nothing found, nor the words for things nobody teaches."""
    from chiasm.train.language import lines, phrasings, table
    from promises import QUESTIONS, UNKNOWN

    trained = [template for k in range(len(table("questions.yaml"))) for template in phrasings("questions.yaml", k)]
    for template in trained:
        choices = "".join("(?:" + "|".join(map(re.escape, part)) + ")" for part in template)
        said = re.compile(re.sub(r"\\\{\w+\\\}", r"\\w+", choices), re.IGNORECASE)  # a slot holds a word
        assert not any(said.fullmatch(question.rstrip(".?")) for question in QUESTIONS), template
    assert len(set(QUESTIONS)) == 20
    assert set(UNKNOWN) <= set(lines("heldout.txt"))


@pytest.mark.parametrize("script", ["detect", "predict", "promises"])
def test_the_page_names_every_script_as_it_is_called(script: str) -> None:
    from importlib import import_module

    page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    line = next(line for line in page.splitlines() if line.startswith(f"python benchmarks/{script}.py"))
    words = shlex.split(line, comments=True)
    assert Path(words[1]).stem == script
    assert import_module(script)._arguments(words[2:]).json is False
