"""Folders of other designs, as transformers writes them, are loaded, found in, asked, and talked to."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chiasm
import pytest
import torch
from chiasm.assemble import build_backbone
from chiasm.backbone.released import KINDS
from chiasm_registry import CheckpointError, ChiasmError, hookimpl
from core.designs import DESIGNS
from core.test_model import same
from core.tiny import NAMES, fakes, picture, tokenizer

FOREIGN = [name for name, described in DESIGNS.items() if described["design"] != "internvl" and "linear" not in name]
ROOM = 8  # rows of the embedding that no token stands for
SHORT: dict[str, Any] = {"max_new_tokens": 16, "do_sample": True, "seed": 3}


class Fakes:
    """A plugin."""

    @hookimpl
    def chiasm_tasks(self) -> Any:
        return [task for task in fakes() if task.spec.name != "detection"]


def spelled(name: str) -> dict[str, str]:
    """The tiny tokenizer's control tokens as the design's own tokenizer calls them."""
    kind = next(kind for kind, design in KINDS.items() if design.name == DESIGNS[name]["design"])
    names = {ours: theirs for theirs, ours in KINDS[kind].markers.items()}
    other = {} if kind == "qwen2_vl" else {"<|im_end|>": "</s>", "<ref>": "<a>", "</ref>": "<b>"}
    return {**names, **other}


def written(name: str, folder: Path) -> Any:
    """A folder of transformers' own making with a tiny random network; the network."""
    described = copy.deepcopy(DESIGNS[name])
    whole = described[described["design"]]
    whole["text_config"]["vocab_size"] += ROOM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        backbone = build_backbone(described)
        for parameter in backbone.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, 0.0, 0.3)
    network: Any = next(child for _, child in backbone.named_children())
    network.save_pretrained(folder)
    text = tokenizer().json()
    parsed = json.loads(text)
    for token in parsed["added_tokens"]:
        token["content"] = spelled(name).get(token["content"], token["content"])
    parsed["model"]["vocab"] = {spelled(name).get(t, t): place for t, place in parsed["model"]["vocab"].items()}
    (folder / "tokenizer.json").write_text(json.dumps(parsed))
    return network


@pytest.fixture(params=FOREIGN)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Any]:
    return tmp_path, written(request.param, tmp_path)


def test_a_folder_of_transformers_is_found_in_asked_and_talked_to(folder: tuple[Path, Any]) -> None:
    """Its weights to the bit; tasks without weights run when they are named and say so, and are not routed."""
    path, network = folder
    model = chiasm.load(path, plugins=[Fakes()], tasks=["level", "echo"])
    (loaded,) = (child for _, child in model.network.backbone_module.named_children())
    theirs, mine = type(network).from_pretrained(path).state_dict(), loaded.state_dict()
    assert theirs.keys() == mine.keys()
    assert all(torch.equal(theirs[key], mine[key]) for key in theirs)
    found = model.run("level", picture(90, 60), NAMES)
    assert tuple(output.phrase for output in found.outputs["level"]) == NAMES
    assert any("untrained" in notice.text for notice in found.notices)
    session = model.chat()
    first = session.ask("Find the dog.", picture(90, 60), **SHORT)
    same(first, model.ask(picture(90, 60), "Find the dog.", **SHORT))
    assert first.outputs == {}
    assert session.ask("And?", **SHORT).size_hw == (60, 90)
    names = model.tokenizer.control_ids
    assert {"<ref>", "</ref>", "<IMG_CONTEXT>"} <= set(names)
    assert len({names[token] for token in ("<ref>", "</ref>", "<IMG_CONTEXT>")}) == 3
    assert "<image>" in model.tokenizer.decode(model.tokenizer.encode_user("<image> <ref>"))


def test_installed_tasks_do_not_notice_the_design(folder: tuple[Path, Any]) -> None:
    """Every task there is, built for the design and asked by name: outputs, and no word but that it is untrained."""
    path, _ = folder
    model = chiasm.load(path)
    for name, task in model.table.tasks.items():
        quick = {"steps": 1} if "steps" in task.spec.options.model_fields else {}
        result = model.run(name, picture(90, 60) if task.spec.needs_image else None, ["dog", "cat"], **quick)
        assert len(result.outputs[name]) == 2
        assert all("is untrained" in notice.text for notice in result.notices)


def _config(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))


BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "code in the configuration": (lambda f: _config(f, lambda c: c.update(auto_map={"AutoModel": "x.Y"})), "auto_map"),
    "code in a part of it": (lambda f: _config(f, lambda c: c["text_config"].update(custom_generate="x")), "custom_"),
    "a size out of range": (lambda f: _config(f, lambda c: c["text_config"].update(hidden_size=10**9)), "hidden_size"),
    "another shape": (lambda f: _config(f, lambda c: c["text_config"].update(intermediate_size=60)), "mlp"),
    "an unknown kind": (lambda f: _config(f, lambda c: c.update(model_type="llava_uhd")), "llava_uhd"),
    "an unknown language model": (lambda f: _config(f, lambda c: c["text_config"].update(model_type="x")), "config"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json"),
    "a tokenizer that is none": (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer.json"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "safetensors"),
    "a pickle": (lambda f: (f / "pytorch_model.bin").write_bytes(b"x"), "pytorch_model.bin"),
    "code beside it": (lambda f: (f / "modeling_llava.py").write_text("x"), "modeling_llava.py"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_folder_that_cannot_be_trusted_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    written("LLaVA", tmp_path)
    spoil, named = BAD[case]
    spoil(tmp_path)
    with pytest.raises(ChiasmError, match=named.replace(".", r"\.")) as caught:
        chiasm.load(tmp_path, tasks=[])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 250


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """`config.json` with another value at a path of keys."""

    def change(config: dict[str, Any]) -> None:
        *parts, key = path.split(".")
        for part in parts:
            config = config[part]
        config[key] = value

    return change


PARTS = {"text_config": (-1, 99, 0.37, "x", [1, 2], True), "vision_config": ([1],)}
LAYERS = {"vision_feature_layer": (99, -5, 4, True, 0.5, [], [1, 99], [1, "x"], "x", None)}
SECTIONS = (-1, 0, 0.37, "x", [1, 2], [8], [2, 2, 2, 2], [0, 4, 4], [2.0, 3, 3], {}, None, True)
ROPE = "text_config.rope_parameters"
WRONG: dict[str, dict[str, tuple[Any, ...]]] = {
    "LLaVA": PARTS | LAYERS | {"text_config.attention_dropout": (-1, 99, "x", True)},
    "LLaVA-NeXT": PARTS
    | LAYERS
    | {"image_grid_pinpoints": ([], [[0, 0]], [[56000, 56000]], [[56, 60]], [[56]], [56], [[56, 112], [-56, 56]])},
    "BLIP-2": PARTS | {"qformer_config": (5,), "text_config.dropout": (-1, 99)},
    "Qwen2-VL": PARTS | {f"{ROPE}.mrope_section": SECTIONS, ROPE: ({}, None)},
}


@pytest.mark.parametrize("name", WRONG)
def test_a_value_that_no_network_can_have_is_refused_when_it_is_loaded(name: str, tmp_path: Path) -> None:
    """In one line that names the key, not at the first question."""
    written(name, tmp_path)
    text = (tmp_path / "config.json").read_text(encoding="utf-8")
    for path, values in WRONG[name].items():
        for value in values:
            (tmp_path / "config.json").write_text(text, encoding="utf-8")
            _config(tmp_path, _set(path, value))
            with pytest.raises(CheckpointError) as caught:
                chiasm.load(tmp_path, tasks=[])
            assert str(caught.value).isprintable(), (path, value)


@pytest.mark.parametrize(
    ("name", "path", "value", "message"),
    [
        ("LLaVA", "text_config", 5, "text_config is 5; it must be an object"),
        ("LLaVA", "vision_feature_layer", [1, 99], "_feature_layer is 99; a layer is a whole number from -4 to 3"),
        ("LLaVA-NeXT", "image_grid_pinpoints", [[56, 60]], r"holds \[56, 60\]; each is .* tiles of 56 pixels"),
        ("BLIP-2", "text_config.dropout", 99, "dropout is 99; it must be a number from 0 to 1"),
        ("Qwen2-VL", "text_config.rope_parameters", {}, r"mrope_section is \[16, 24, 24\]; .* that sum to 8"),
    ],
)
def test_such_a_value_is_named_with_what_it_must_be(
    name: str, path: str, value: Any, message: str, tmp_path: Path
) -> None:
    written(name, tmp_path)
    _config(tmp_path, _set(path, value))
    with pytest.raises(CheckpointError, match=message):
        chiasm.load(tmp_path, tasks=[])


@pytest.mark.parametrize("layers", [0, -4, 3, [-2, 1]])
def test_any_layers_of_the_eye_may_be_shown(layers: Any) -> None:
    described = copy.deepcopy(DESIGNS["LLaVA"])
    described["llava"]["vision_feature_layer"] = layers
    assert build_backbone(described).see(torch.zeros(1, 3, 56, 56)).tokens.shape[0] == 1


def test_an_embedding_without_room_is_named(tmp_path: Path) -> None:
    written("LLaVA", tmp_path)
    parsed = json.loads((tmp_path / "tokenizer.json").read_text())
    size = tokenizer().size
    for place in range(ROOM):
        parsed["model"]["vocab"][f"extra{place}"] = size + place
    (tmp_path / "tokenizer.json").write_text(json.dumps(parsed))
    with pytest.raises(ChiasmError, match=r"the embedding \d+ rows; enlarge it first"):
        chiasm.load(tmp_path, tasks=[])
