"""One task trained alone: what moves and what does not, the file it leaves, and what people ask meanwhile."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from chiasm.checkpoint import add_tasks, read_checkpoint, read_task_file
from chiasm.loading import load
from chiasm.train import trainee
from chiasm.train.alone import for_one_task
from chiasm.train.build import build
from chiasm.train.config import TrainConfig, load_config
from chiasm.train.mix import Mix
from chiasm.train.requests import Composer, Request
from chiasm.train.trainer import train
from chiasm_registry import Catalog, ChiasmError, CoreInfo, Decoder, Output, PluginInfo, Sample, TaskSpec
from core.tiny import picture
from core.train.test_build import Abacus, Trainable, TrainTask, config
from core.train.test_build import data as data
from core.train.test_requests import FIND, NAMES, OUTLINE, RECORDS, STREET
from torch import Tensor


class Rod(Trainable):
    """Learns with a weight of its own, and has a buffer."""

    def __init__(self, core: CoreInfo) -> None:
        super().__init__(core)
        self.gain = torch.nn.Parameter(torch.ones(core.width))
        self.register_buffer("fixed", torch.ones(2))

    def loss(self, scenes: Any, routes: Any, targets: Any) -> dict[str, Tensor]:
        slots = torch.stack([route.slots for of_image in routes for route in of_image])
        return {"slots": (slots * self.gain).square().mean()}


class Counted(Abacus):
    def decoder(self, core: CoreInfo) -> Decoder:
        return Rod(core)


INSTALLED = {"detection": TrainTask(), "abacus": Counted()}
HOME = PluginInfo("abacus", "ok", "", "acme-abacus", "1.2", ("abacus",))


@pytest.fixture(autouse=True)
def _both_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainee, "discover", lambda: Catalog((HOME,), INSTALLED))
    monkeypatch.setattr("chiasm.loading.discover", lambda: Catalog((), {}))


@pytest.fixture(scope="module")
def base(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model that knows detection alone."""
    folder = tmp_path_factory.mktemp("base") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainee, "discover", lambda: Catalog((), INSTALLED))
        made = build(config(data))
    made.save(made.module, folder)
    return folder


def alone(data: Path, base: Path, **changes: Any) -> TrainConfig:
    values = {"model": {"base": str(base)}, "tasks": {}, "alone": "abacus"}
    values["optimizer"] = {"lr": 0.01, "warmup_steps": 0}
    run = {"steps": 1, "batch_size": 2, "ema": 0, "workers": 0, "seed": 5}
    made: TrainConfig = config(data, **{**values, "run": run, **changes})
    return made


@pytest.fixture(scope="module")
def trained(data: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one step."""
    out = tmp_path_factory.mktemp("run") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainee, "discover", lambda: Catalog((HOME,), INSTALLED))
        train(alone(data, base), out, quiet=True)
    return out


def test_one_step_moves_the_tasks_own_tensors_and_no_other(data: Path, base: Path, trained: Path) -> None:
    """Rows of its token in and out, embeddings, decoder; core, neighbours and buffers are the same to the bit."""
    from safetensors.torch import load_file

    before = build(for_one_task(alone(data, base), "abacus")).module.state_dict()
    after = load_file(trained / "checkpoints" / "step-00000001" / "weights.safetensors")
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    place = "network.rows.tasks.1"  # behind detection's
    rows = {f"{place}.{part}" for part in ("input", "output", "vectors", "asking")}
    assert moved == {*rows, "network.decoders.abacus.gain"}


def test_it_leaves_one_file_with_its_manifest(base: Path, trained: Path) -> None:
    """Whose it is, and which core it learned on."""
    assert not (trained / "model").exists()
    file = read_task_file(trained / "abacus.safetensors")
    assert (file.name, file.token, file.distribution, file.order) == ("abacus", "[ABACUS]", "acme-abacus", 1)
    assert file.core == read_checkpoint(base).manifest.core_id
    assert set(file.decoder) == {"gain", "fixed", "edges.weight", "edges.bias"}


def test_the_other_tasks_answers_stay_to_the_bit(base: Path, trained: Path) -> None:
    plain = load(base, plugins=[TrainTask()])
    both = load(base, plugins=[TrainTask(), Counted()], tasks_from=[trained / "abacus.safetensors"])
    assert not both.untrained
    assert not both.notices
    one, other = (model.detect(picture(), ["dog", "cup"], threshold=0) for model in (plain, both))
    assert one.outputs == other.outputs
    assert len(both.run("abacus", picture(), ["dog"]).outputs["abacus"]) == 1


def test_a_cut_run_goes_on_and_a_run_of_another_task_is_refused(data: Path, base: Path, tmp_path: Path) -> None:
    train(alone(data, base), tmp_path, quiet=True)
    run = {"steps": 2, "batch_size": 2, "ema": 0, "workers": 0, "seed": 5}
    assert train(alone(data, base, run=run), tmp_path, quiet=True).steps == 2
    with pytest.raises(ChiasmError, match="alone"):
        train(alone(data, base, run=run, alone="detection"), tmp_path, quiet=True)


def test_a_task_can_be_trained_on(data: Path, base: Path, trained: Path, tmp_path: Path) -> None:
    """A model that has the task already is where it goes on from."""
    names = add_tasks(base, [trained / "abacus.safetensors"], tmp_path / "joined")
    assert names == ("detection", "abacus")
    network = build(for_one_task(alone(data, tmp_path / "joined"), "abacus")).module.network
    stored = read_task_file(trained / "abacus.safetensors")
    assert torch.equal(network.rows.row("abacus").vectors, stored.vectors.float())
    assert torch.equal(network.decoders["abacus"].gain, stored.decoder["gain"].float())


def test_other_tasks_in_the_config_are_refused(data: Path, base: Path) -> None:
    with pytest.raises(ChiasmError, match="'detection', but 'abacus' is trained alone"):
        for_one_task(alone(data, base, tasks={"detection": {}}), "abacus")


def test_the_command_names_the_task(data: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("run: {steps: 1, batch_size: 1}\n")
    assert load_config(tmp_path / "c.yaml", ["alone=abacus"]).alone == "abacus"


class Faulty(Counted):
    """Breaks where an author's first try would."""

    def __init__(self, how: str) -> None:
        self.how = how

    def targets(self, sample: Sample) -> Any:
        if self.how == "targets":
            return {"dog": 1}[sample.phrases[0] + "!"]
        return [1] if self.how == "few" else super().targets(sample)

    def decoder(self, core: CoreInfo) -> Decoder:
        made = Rod(core)
        if self.how == "no loss":
            made.loss = None  # type: ignore[method-assign,assignment]
        if self.how == "loss":
            made.loss = lambda scenes, routes, targets: {"a": targets.boxes}  # type: ignore[method-assign,assignment]
        return made


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("targets", r"its targets\(\) failed: KeyError"),
        ("few", r"targets\(\) gave 1 targets for \d+ phrases"),
        ("no loss", r"its decoder has no loss\(\)"),
        ("loss", r"its loss\(\) failed: AttributeError"),
    ],
)
def test_an_authors_mistake_is_one_line(
    data: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, message: str
) -> None:
    monkeypatch.setattr(trainee, "discover", lambda: Catalog((), {**INSTALLED, "abacus": Faulty(how)}))
    with pytest.raises(ChiasmError, match=message) as caught:
        train(alone(data, base), tmp_path, quiet=True)
    assert str(caught.value).isprintable()


def test_adapters_learn_with_it_and_are_on_in_its_calls_alone(data: Path, base: Path, tmp_path: Path) -> None:
    """They go into the task's file; what the core's other tasks answer stays, to the bit."""
    pytest.importorskip("peft")
    settings = alone(data, base, model={"base": str(base), "lora": 2}, run={"steps": 2, "batch_size": 2, "ema": 0.5})
    train(settings, tmp_path, quiet=True)
    file = read_task_file(tmp_path / "abacus.safetensors")
    assert len(file.lora) == 2 * 2 * 7  # A and B of two layers' seven places
    assert all(bool(tensor.any()) for name, tensor in file.lora.items() if name.endswith(".B"))
    plain = load(base, plugins=[TrainTask()])
    both = load(base, plugins=[TrainTask(), Counted()], tasks_from=[tmp_path / "abacus.safetensors"])
    assert not both.untrained
    one, other = (model.detect(picture(), ["dog", "cup"], threshold=0) for model in (plain, both))
    assert one.outputs == other.outputs
    asked_of = ["detection", "abacus"]
    told = both.run(asked_of, picture(), ["dog", "cup"], threshold=0)
    assert told.outputs["detection"] == one.outputs["detection"]  # it is spoken by itself
    add_tasks(base, [tmp_path / "abacus.safetensors"], tmp_path / "joined")
    on = for_one_task(alone(data, tmp_path / "joined"), "abacus")
    moving = {name for name, p in build(on).module.named_parameters() if p.requires_grad}
    assert sum(".lora_A.task_abacus." in name for name in moving) == 14
    with pytest.raises(ChiasmError, match="train it alone"):
        build(config(data, model={"base": str(tmp_path / "joined")}, tasks={"abacus": {}, "detection": {}}))


def test_adapters_are_for_a_task_that_is_trained_alone(data: Path, base: Path) -> None:
    with pytest.raises(ChiasmError, match=r"key model\.lora is for a task"):
        build(config(data, model={"base": str(base), "lora": 2}))


# What is asked meanwhile.


POINT = TaskSpec(
    name="pointing", token="[POINT]", embeddings=1, output=Output, summary="points",
    phrasings=("(please |)point (at|to) {names}", "click on {names}"),
)  # fmt: skip


def composer(learning: set[str] | None, **mix: float) -> Composer:
    return Composer(NAMES, RECORDS, Mix(guided=0, **mix), 6, [POINT, FIND, OUTLINE], learning)


def asked(made: Composer, kind: str | None, count: int = 200) -> list[Request]:
    return [made.compose(STREET, STREET.objects, random.Random(seed), kind) for seed in range(count)]


def said(requests: list[Request]) -> list[str]:
    return [(one.prompt or "").lower() for one in requests]


def tasks_in(request: Request) -> set[str]:
    return {task for part in request.answer if not isinstance(part, str) for task in part.tasks}


def test_guided_phrases_are_all_for_the_task_that_learns() -> None:
    assert {task for one in asked(composer({"pointing"}), "guided", 20) for task in tasks_in(one)} == {"pointing"}


def test_requests_in_others_words_stay_theirs() -> None:
    """Some are asked, so that the new token learns when to keep silent; none in words that are the new task's."""
    made = composer({"pointing"}, task=1.0, task_foreign=0.3)
    tasks = [tasks_in(one) for one in asked(made, "task")]
    assert 100 < tasks.count({"pointing"}) < 180
    assert 20 < tasks.count({"spot", "outline"}) < 100
    found = asked(made, "find", 600)
    assert not [text for text in said(found) if re.search(r"\b(point (at|to)|click on)\b", text)]
    assert all(tasks_in(one) == {"spot"} for one in found)


def test_where_all_tasks_learn_nothing_is_different() -> None:
    named = composer({"pointing", "spot", "outline"})
    assert asked(named, None) == asked(composer(None), None)
    assert any("point to" in text for text in said(asked(named, "find", 600)))
