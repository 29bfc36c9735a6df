"""The models that come with the package: found by name, and their cards say what the configs say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from chiasm.models import HOME, model_folder, names
from chiasm_registry.errors import InputError

CARDS = [path.parent for path in HOME.glob("*/README.md")]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that embeds one model, `tiny`, and keeps the card of another."""
    (tmp_path / "home" / "tiny" / "weights").mkdir(parents=True)
    (tmp_path / "home" / "tiny" / "weights" / "chiasm.json").write_text("{}")
    (tmp_path / "home" / "planned").mkdir()
    monkeypatch.setattr("chiasm.models.HOME", tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def test_a_name_is_the_folder_of_its_weights(home: Path) -> None:
    assert names() == ["tiny"]
    assert model_folder("tiny") == home / "tiny" / "weights"


def test_a_path_is_taken_as_it_is(home: Path) -> None:
    assert model_folder("runs/mine/model") == Path("runs/mine/model")
    assert model_folder(Path("tiny")) == Path("tiny")


def test_a_folder_here_wins_over_a_name(home: Path) -> None:
    (home.parent / "tiny").mkdir()
    assert model_folder("tiny") == Path("tiny")


@pytest.mark.parametrize("name", ["planned", "unheard_of"])
def test_a_name_without_weights_is_refused_with_those_that_have_some(home: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"no model {name}: neither embedded \(tiny\) nor a folder here"):
        model_folder(name)


@pytest.mark.parametrize("nonsense", [None, 3, ["tiny"]])
def test_what_is_neither_name_nor_path_is_refused(nonsense: object) -> None:
    with pytest.raises(InputError, match="must be a name or a path"):
        model_folder(nonsense)  # type: ignore[arg-type]


@pytest.mark.parametrize("folder", CARDS, ids=lambda folder: folder.name)
def test_a_split_has_no_photograph_twice(folder: Path) -> None:
    split = json.loads((folder / "split.json").read_text())
    train, validation = split["train"], split["validation"]
    assert len({*train, *validation}) == len(train) + len(validation)
    card = (folder / "README.md").read_text()
    assert f"**{len(train):,} photographs" in card
    assert f"**{len(validation):,} more" in card


@pytest.mark.parametrize("folder", CARDS, ids=lambda folder: folder.name)
def test_a_card_names_every_config_and_the_sizes_in_them(folder: Path) -> None:
    from chiasm.assemble import assemble
    from chiasm_registry import TaskTable, discover

    catalog, card = discover(), (folder / "README.md").read_text()
    configs = sorted((folder / "train").glob("*.yaml"))
    assert configs
    assert all(f"`train/{path.name}`" in card for path in configs)
    model = yaml.safe_load(configs[0].read_text())["model"]
    text = {**model["internvl"]["text_config"], "vocab_size": model["vocabulary"]}
    wanted = yaml.safe_load(configs[0].read_text())["tasks"]
    if not catalog.tasks.keys() >= wanted.keys():
        pytest.skip("a task of the model is not installed")
    tasks = {name: catalog.task(name) for name in wanted}
    network = assemble(
        {**model, "internvl": {**model["internvl"], "image_token_id": 0, "text_config": text}},
        TaskTable.build(list(tasks.values())),
        tasks,
    )
    millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    assert f"| together | stored in bfloat16 | {millions:.2f} |" in card
    assert f"vocabulary {model['vocabulary']:,}" in card
