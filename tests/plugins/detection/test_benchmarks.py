"""The benchmarks measure what they say: the bare path answers as `detect` does, and calls take turns."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from chiasm.assemble import assemble, markers_of
from chiasm.model import Model
from chiasm.text import TEMPLATES, train_tokenizer
from chiasm.weights import start_tasks
from chiasm_plugins.detection.decoder import PRESENCE
from chiasm_registry import TaskTable, discover
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


@pytest.mark.parametrize("script", ["detect", "predict"])
def test_the_page_names_every_script_as_it_is_called(script: str) -> None:
    from importlib import import_module

    page = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    line = next(line for line in page.splitlines() if line.startswith(f"python benchmarks/{script}.py"))
    words = shlex.split(line, comments=True)
    assert Path(words[1]).stem == script
    assert import_module(script)._arguments(words[2:]).json is False
