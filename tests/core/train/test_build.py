"""From a config to a trainable whole and to a checkpoint, and every bad config named in one line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chiasm.checkpoint import read_checkpoint
from chiasm.loading import load
from chiasm.train import trainee
from chiasm.train.build import Build, build
from chiasm.train.config import parse_config
from chiasm.train.optimizer import freeze
from chiasm_registry import Catalog, ChiasmError, CoreInfo, Decoder, Sample, TrainingError
from core.tiny import NAMES, BoxTask, description, picture
from core.train.test_step import Learner
from PIL import Image
from torch import Tensor

VISION = description()["internvl"]["vision_config"]
TEXT = {k: v for k, v in description()["internvl"]["text_config"].items() if k != "vocab_size"}
MODEL = {
    "vocabulary": 600,
    "trunk": False,
    "internvl": {"vision_config": VISION, "text_config": TEXT, "downsample_ratio": 0.5, "tie_word_embeddings": True},
}


class Trainable(Learner):
    """A fake detection that can be prepared."""

    def prepare(self, options: Mapping[str, Any], initial: Mapping[str, Tensor]) -> None:
        self.prepared = dict(options), sorted(initial)


class TrainTask(BoxTask):
    def decoder(self, core: CoreInfo) -> Decoder:
        return Trainable(core)

    def targets(self, sample: Sample) -> Sequence[Any]:
        return list(sample.phrases)


@pytest.fixture(autouse=True)
def _only_fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training finds the fake detection, whatever is installed."""
    monkeypatch.setattr(trainee, "discover", lambda: Catalog((), {"detection": TrainTask()}))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photographs in COCO form."""
    folder = tmp_path_factory.mktemp("data")
    noise = np.random.default_rng(0)
    images = [{"id": k, "file_name": f"{k}.png", "height": 60, "width": 80} for k in (1, 2, 3)]
    for image in images:
        Image.fromarray(noise.integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(folder / str(image["file_name"]))
    categories = [{"id": 1, "name": "dog"}, {"id": 2, "name": "cup"}, {"id": 3, "name": "cat"}]
    boxes = [(1, 1), (1, 2), (2, 2), (3, 3)]
    annotations = [
        {"id": k, "image_id": i, "category_id": c, "bbox": [5 * k, 4, 30, 40], "iscrowd": 0}
        for k, (i, c) in enumerate(boxes, 1)
    ]
    (folder / "train.json").write_text(
        json.dumps({"images": images, "categories": categories, "annotations": annotations})
    )
    (folder / "captions.json").write_text(json.dumps({"1": ["A dog and a cup."], "2": ["A cup."]}))
    return folder


def config(data: Path, **changes: Any) -> Any:
    values: dict[str, Any] = {
        "model": MODEL,
        "data": [
            {"annotations": str(data / "train.json"), "images": str(data), "captions": str(data / "captions.json")}
        ],
        "mixture": {"views": {"size": 56, "source": 64, "scale": [0.8, 1.2]}, "branches": 3, "conversations": 2},
        "tasks": {"detection": {"weight": 2}},
        "run": {"steps": 1, "batch_size": 2, "seed": 5},
    }
    return parse_config({**values, **changes})


def first_batch(made: Build, count: int = 2) -> dict[str, Any]:
    return made.collate([made.dataset[k] for k in range(count)])


def losses(made: Build) -> dict[str, float]:
    made.module.eval()
    batch = first_batch(made)
    return {name: float(loss.detach()) for name, loss in made.module(**batch).items()}


def test_a_config_becomes_something_that_learns(data: Path) -> None:
    """Photographs, requests, ids and losses: one step of it is finite and reaches the weights."""
    lines: list[str] = []
    made = build(config(data), lines.append)
    batch = first_batch(made)
    assert batch["ids"] == [made.dataset[k].image_id for k in range(2)]
    found = made.module(**batch)
    assert {"loss", "loss/text", "loss/detection/slots"} <= set(found)
    assert torch.isfinite(found["loss"])
    found["loss"].backward()
    assert sum(p.grad is not None for p in made.module.parameters()) > 20
    assert any("M parameters" in line for line in lines)
    assert made.module.network.decoders["detection"].prepared == ({"weight": 2}, [])


def test_the_same_config_starts_the_same(data: Path) -> None:
    """Whatever the process's random state; another seed draws other items."""
    torch.manual_seed(1)
    one = build(config(data))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    other = build(config(data))
    assert torch.equal(torch.get_rng_state(), before)
    assert losses(one) == losses(other)
    later = build(config(data, run={"steps": 1, "batch_size": 2, "seed": 6}))
    assert [later.dataset[k] for k in range(4)] != [one.dataset[k] for k in range(4)]


def test_what_is_saved_is_loaded_to_the_bit(data: Path, tmp_path: Path) -> None:
    """As a model to be asked, and as the base of another run."""
    made = build(config(data, model={**MODEL, "openings": {"I looked": 2.0}}))
    made.save(made.module, tmp_path / "model")
    stored = read_checkpoint(tmp_path / "model")
    assert stored.manifest.openings == {"I looked": 2.0}
    assert stored.manifest.echoes == ("I looked for", "Here is")
    assert stored.manifest.guided_instruction == "Find what is named."
    assert stored.config["internvl"]["text_config"]["vocab_size"] <= 600
    network = made.module.network
    for name, tensor in stored.core.items():
        assert tensor.dtype == torch.bfloat16
        assert torch.equal(tensor, network.backbone_module.state_dict()[name].to(torch.bfloat16))
    again = build(config(data, model={"base": str(tmp_path / "model")}))
    again.save(again.module, tmp_path / "again")
    assert read_checkpoint(tmp_path / "again").manifest.openings == {"I looked": 2.0}
    for (name, old), new in zip(network.state_dict().items(), again.module.network.state_dict().values(), strict=True):
        assert torch.equal(old.to(torch.bfloat16).float(), new), name
    assert again.dataset[0].row == made.dataset[0].row


def test_a_saved_model_answers(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = build(config(data))
    made.save(made.module, tmp_path / "model")
    monkeypatch.setattr("chiasm.loading.discover", lambda: Catalog((), {}))
    model = load(tmp_path / "model", plugins=[TrainTask()])
    assert not model.untrained
    assert len(model.detect(picture(), NAMES, threshold=0).objects) == len(NAMES)


def test_words_alone_need_no_photographs(data: Path) -> None:
    made = build(config(data, mixture={"pictures": False, "conversations": 3, "requests": {"guided": 0.0}}))
    assert first_batch(made)["view"] is None
    assert set(losses(made)) == {"loss", "loss/text"}


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key of the model": ({"model": {**MODEL, "colour": 1}}, "model.colour is unknown"),
    "dropout": ({"model": {**MODEL, "dropout": 2}}, "model.dropout is 2"),
    "no such base": ({"model": {"base": "nowhere"}}, "no model folder"),
    "no model": ({"model": {}}, "model.internvl needs vision_config and text_config"),
    "no language": ({"model": {"internvl": {"vision_config": VISION}}}, "model.internvl needs"),
    "a language that is none": (
        {"model": {"internvl": {"vision_config": VISION, "text_config": {"model_type": "nope"}}}},
        "does not describe an InternVL model",
    ),
    "unknown template": ({"model": {**MODEL, "template": "alpaca"}}, "template"),
    "unknown view": ({"mixture": {"views": {"zoom": 1}}}, "mixture.views.zoom is unknown"),
    "view of a wrong type": ({"mixture": {"views": {"flip": "often"}}}, "mixture.views.flip is 'often'"),
    "unknown request": ({"mixture": {"requests": {"poem": 1}}}, "mixture.requests.poem is unknown"),
    "unknown mixture": ({"mixture": {"colour": 1}}, "mixture.colour is unknown"),
    "no branch": ({"mixture": {"branches": 0}}, "mixture.branches is 0"),
    "unknown task": ({"tasks": {"depth": {}}}, "no task 'depth'"),
    "tags without a trunk": ({"model": {**MODEL, "tags": ["cat"]}}, "model.tags is for a backbone with a trunk"),
    "a blank tag": ({"model": {**MODEL, "tags": ["cat", " "]}}, "model.tags.1 is ' '"),
    "initial weights missing": ({"initial": "nowhere.safetensors"}, "cannot be read"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_bad_config_is_named_in_one_line(data: Path, case: str) -> None:
    changes, message = WRONG[case]
    with pytest.raises(ChiasmError, match=message) as caught:
        build(config(data, **changes))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 200


def test_initial_weights_are_for_a_trunk(data: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "initial.safetensors")
    with pytest.raises(ChiasmError, match="for a backbone with a trunk"):
        build(config(data, initial=str(tmp_path / "initial.safetensors")))


@pytest.mark.parametrize("spoil", [lambda p: p.unlink(), lambda p: p.write_bytes(b"GIF89a")], ids=["gone", "torn"])
def test_a_bad_photograph_is_named(tmp_path: Path, data: Path, spoil: Callable[[Path], Any]) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in data.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    spoil(folder / "2.png")
    with pytest.raises(ChiasmError, match="image 2"):
        build(config(folder, run={"steps": 1, "batch_size": 2, "on_bad_sample": "stop"}))


def save_with(made: Build, folder: Path) -> dict[str, bytes]:
    made.save(made.module, folder)
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_task_that_is_left_out_is_written_back_as_it_was(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place in the table, too; a new task comes behind."""
    first = save_with(build(config(data)), tmp_path / "base")
    monkeypatch.setattr(trainee, "discover", lambda: Catalog((), {"detection": TrainTask(), "abacus": Abacus()}))
    only = {"model": {"base": str(tmp_path / "base")}, "tasks": {"abacus": {}}}
    later = save_with(build(config(data, **only)), tmp_path / "later")
    assert later["detection.safetensors"] == first["detection.safetensors"]
    assert [entry.name for entry in read_checkpoint(tmp_path / "later").manifest.tasks] == ["detection", "abacus"]


def test_tasks_that_cannot_learn_cost_nothing(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No targets, no losses, and no words' loss either where the language stands still."""
    save_with(build(config(data)), tmp_path / "base")
    monkeypatch.setattr(trainee, "discover", lambda: Catalog((), {"detection": TrainTask(), "abacus": Abacus()}))
    changes = {
        "model": {"base": str(tmp_path / "base"), "dropout": 0.0},
        "tasks": {"abacus": {}, "detection": {}},
        "mixture": {"views": {"size": 56, "source": 64}, "branches": 4, "conversations": 0,
                    "requests": {"guided_other": 1.0}},
        "optimizer": {"groups": {"network.backbone_module": 0, "network.decoders.detection": 0,
                                 "network.rows.tasks.1": 0}},
    }
    settings = config(data, **changes)
    made = build(settings)
    freeze(made.module, settings.optimizer.groups)
    batch = first_batch(made)
    assert set(batch["nested"].targets) == {"abacus"}
    found = made.module(**batch)
    assert {name.split("/")[1] for name in found if "/" in name} == {"abacus"}
    found["loss"].backward()
    assert made.module.network.rows.row("detection").vectors.grad is None
    assert made.module.network.rows.row("abacus").vectors.grad is not None


@pytest.mark.parametrize(
    ("loss", "found"), [(1.0, "float"), (torch.zeros(3, requires_grad=True), r"a tensor \(3,\)")]
)
def test_a_loss_that_is_no_number_is_named_with_its_task(
    data: Path, monkeypatch: pytest.MonkeyPatch, loss: object, found: str
) -> None:
    made = build(config(data))
    monkeypatch.setattr(made.module.network.decoders["detection"], "loss", lambda *_: {"box": loss})
    with pytest.raises(TrainingError, match=f"'detection' cannot be trained: the loss box is {found}; give a tensor"):
        made.module(**first_batch(made))


def test_guided_phrases_alone_have_no_words_to_learn(data: Path) -> None:
    mixture = {"views": {"size": 56, "source": 64}, "branches": 3, "conversations": 0, "requests": {"guided": 1.0}}
    made = build(config(data, mixture=mixture))
    losses = made.module(**first_batch(made))
    assert losses["loss/text"] == 0
    assert losses["loss"].isfinite()


def test_other_annotations_are_another_run(data: Path) -> None:
    before = build(config(data)).identity
    assert build(config(data)).identity == before
    (data / "train.json").write_text((data / "train.json").read_text() + " ")
    assert build(config(data)).identity != before


class Abacus(TrainTask):
    spec = TrainTask.spec.model_copy(update={"name": "abacus", "token": "[ABACUS]", "phrasings": ("count {names}",)})
