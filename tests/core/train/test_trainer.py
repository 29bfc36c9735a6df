"""The loop: what it logs and saves, what stops it; a cut run ends as an unbroken one. A tiny module on the CPU."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from chiasm.train.config import TrainConfig, parse_config
from chiasm.train.data import BadSample
from chiasm.train.ema import Ema
from chiasm.train.log import read_log
from chiasm.train.trainer import Finished, _where_from, train
from chiasm_registry.errors import TrainingError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Dataset

torch.set_num_threads(1)


class Numbers(Dataset[dict[str, Any]]):
    """Item i is a function of i; `bad` items are not usable, `broken` ones are not finite."""

    def __init__(self, bad: frozenset[int] = frozenset(), broken: int = -1) -> None:
        self.bad, self.broken = bad, broken

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index in self.bad:
            raise BadSample(f"photo {index}", "cannot be decoded")
        x = torch.randn(3, generator=torch.Generator().manual_seed(index))
        return {"id": f"photo {index}", "x": x * (float("nan") if index == self.broken else 1.0)}


class Tiny(nn.Module):
    """Learns to sum three numbers; dropout makes the random state matter."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.drop, self.head = nn.Linear(3, 6), nn.Dropout(0.2), nn.Linear(6, 1)

    def forward(self, x: Tensor, notes: list[Mapping[str, str]]) -> dict[str, Tensor]:
        assert all(isinstance(note["text"], str) for note in notes)
        error = (self.head(self.drop(self.stem(x))).squeeze(1) - x.sum(1)).square().mean()
        losses = {"loss": 3 * error, "loss/detection/box": error, "loss/text": 2 * error}
        return losses if len(x) % 2 == 0 else {**losses, "loss/odd": error}


class TinyBuild:
    """What the builder gives for the tiny module."""

    identity: ClassVar = {"rows": 1}

    def __init__(self, config: TrainConfig, report: Callable[[str], None]) -> None:
        self.module = Tiny()
        self.dataset = Numbers(**config.mixture)

    @staticmethod
    def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
        notes = [{"text": item["id"]} for item in items]
        return {"x": torch.stack([item["x"] for item in items]), "ids": [item["id"] for item in items], "notes": notes}

    def save(self, module: nn.Module, folder: Path) -> None:
        save_file(module.state_dict(), folder / "model.safetensors")


def config(mixture: dict[str, Any] | None = None, optimizer: dict[str, Any] | None = None, **run: Any) -> TrainConfig:
    run = {"steps": 24, "batch_size": 4, "save_every": 4, "log_every": 3, "workers": 0, "ema": 0.9} | run
    return parse_config({"run": run, "mixture": mixture or {}, "optimizer": {"warmup_steps": 4} | (optimizer or {})})


def tiny(out: Path, settings: TrainConfig | None = None, **more: Any) -> Finished:
    return train(settings or config(), out, build=TinyBuild, quiet=True, **more)


def losses(out: Path) -> list[dict[str, Any]]:
    """The loss lines of a log without what the clock says."""
    lines = [line for line in read_log(out) if line["kind"] == "losses"]
    return [{key: value for key, value in line.items() if key not in ("time", "images_per_s")} for line in lines]


def weights(out: Path) -> bytes:
    return (out / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed."""
    out = tmp_path_factory.mktemp("unbroken")
    assert tiny(out).steps == 24
    return out


def test_the_log_has_each_loss(unbroken: Path) -> None:
    """Every `log_every` steps there is a line with each named loss, the rate and the gradient's norm."""
    lines = losses(unbroken)
    assert [line["step"] for line in lines] == list(range(3, 25, 3))
    assert set(lines[0]) == {"kind", "step", "loss", "loss/detection/box", "loss/text", "grad_norm", "lr"}
    assert lines[0]["loss"] == pytest.approx(3 * lines[0]["loss/detection/box"], rel=1e-6)


def test_the_report_says_how_it_went(unbroken: Path) -> None:
    """`report.json` holds steps, pace, last losses and the whole config."""
    report = json.loads((unbroken / "report.json").read_text())
    assert (report["steps"], report["bad_samples"], report["precision"]) == (24, 0, "float32")
    assert report["losses"]["loss"] == losses(unbroken)[-1]["loss"]
    assert report["config"]["run"]["steps"] == 24


def test_the_model_is_the_average_of_the_weights(unbroken: Path) -> None:
    """`model/` holds the averaged weights of the last checkpoint, not the last weights."""
    last = unbroken / "checkpoints" / "step-00000024"
    saved, average = load_file(unbroken / "model" / "model.safetensors"), load_file(last / "averages.safetensors")
    now = load_file(last / "weights.safetensors")
    assert all(torch.equal(saved[name], average[name]) for name in saved)
    assert not torch.equal(saved["head.weight"], now["head.weight"])


def test_only_the_newest_checkpoints_stay(unbroken: Path) -> None:
    """`keep` checkpoints, without a pickle in them."""
    assert sorted(p.name for p in (unbroken / "checkpoints").iterdir()) == ["step-00000020", "step-00000024"]
    assert {p.suffix for p in unbroken.rglob("*") if p.is_file()} <= {".json", ".jsonl", ".safetensors", ".lock"}


def test_workers_give_the_same_run(unbroken: Path, tmp_path: Path) -> None:
    """Items made in other processes, in any number of them, are the same items in the same order."""
    tiny(tmp_path, config(workers=2))
    assert losses(tmp_path) == losses(unbroken)


def test_a_run_cut_by_steps_goes_on_as_if_it_was_not(unbroken: Path, tmp_path: Path) -> None:
    """Ended between two log lines and gone on with, the log and the weights are equal to the bit."""
    assert tiny(tmp_path, limit_steps=10).steps == 10
    assert tiny(tmp_path).steps == 24
    cut = [line for line in losses(tmp_path) if line["step"] != 10]
    whole = [line for line in losses(unbroken) if line["step"] != 12]  # the line at 10 took a part of it
    assert [line for line in cut if line["step"] != 12] == whole
    assert weights(tmp_path) == weights(unbroken)


def test_kill_loses_at_most_one_interval(unbroken: Path, tmp_path: Path) -> None:
    """Killed at any moment, some of them inside a save, the run ends with the same log and weights."""
    moments, fork = random.Random(5), multiprocessing.get_context("fork")
    for reached in (2, 9, 13, 18):
        child = fork.Process(target=tiny, args=(tmp_path,))
        child.start()
        deadline = time.monotonic() + 60
        while child.is_alive() and time.monotonic() < deadline:
            if any(line["step"] >= reached for line in read_log(tmp_path)):
                break
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.01))
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        logged = max((line["step"] for line in read_log(tmp_path)), default=0)
        saved = [int(p.name[5:]) for p in (tmp_path / "checkpoints").glob("step-*") if (p / "complete.json").exists()]
        assert logged - max(saved, default=0) <= 4
    assert tiny(tmp_path).steps == 24
    assert losses(tmp_path) == losses(unbroken)
    assert weights(tmp_path) == weights(unbroken)


def test_a_torn_checkpoint_does_not_count(unbroken: Path, tmp_path: Path) -> None:
    """One with a file that is not what its marker says is removed; the one before it is gone on from."""
    tiny(tmp_path, limit_steps=12)
    with (tmp_path / "checkpoints" / "step-00000012" / "optimizer.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff")
    tiny(tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["resumed_from"] == 8
    assert losses(tmp_path) == losses(unbroken)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    """The step and its samples are named, the last good checkpoint stays, nothing later is saved."""
    with pytest.raises(TrainingError, match=r"step 6: loss/detection/box is not finite; samples photo 20, photo 21"):
        tiny(tmp_path, config({"broken": 22}))
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["step-00000004"]
    line = read_log(tmp_path)[-1]
    assert (line["kind"], line["step"], line["ids"]) == ("not finite", 6, [f"photo {i}" for i in range(20, 24)])
    assert all(value.isfinite().all() for value in load_file(tmp_path / "model" / "model.safetensors").values())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_sample_is_named_once_and_replaced(tmp_path: Path, workers: int) -> None:
    """With `skip` the run goes on with the next item, and the log names the bad one."""
    tiny(tmp_path, config({"bad": frozenset({5, 6})}, steps=4, workers=workers))
    named = [(line["step"], line["id"], line["fact"]) for line in read_log(tmp_path) if line["kind"] == "bad sample"]
    assert named == [(2, "photo 5", "cannot be decoded"), (2, "photo 6", "cannot be decoded")]
    assert json.loads((tmp_path / "report.json").read_text())["bad_samples"] == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_sample_can_stop_the_run(tmp_path: Path, workers: int) -> None:
    """With `stop` the run ends in one line that names the sample."""
    with pytest.raises(TrainingError, match=r"step 2: stopped for a bad sample, photo 5: cannot be decoded"):
        tiny(tmp_path, config({"bad": frozenset({5})}, on_bad_sample="stop", workers=workers))


def test_a_set_of_bad_samples_stops_even_skip(tmp_path: Path) -> None:
    """Replacing has an end."""
    with pytest.raises(TrainingError, match="stopped for a bad sample"):
        tiny(tmp_path, config({"bad": frozenset(range(1000))}))


def test_another_config_is_refused_with_the_difference(tmp_path: Path) -> None:
    """What would change the steps is refused by key; length and pace may change."""
    tiny(tmp_path, config(steps=4))
    with pytest.raises(TrainingError, match=r"holds a run with optimizer.lr = 0.001, now 0.1"):
        tiny(tmp_path, config(steps=4, optimizer={"lr": 0.1}))
    assert tiny(tmp_path, config(steps=6, log_every=2, save_every=3)).steps == 6


def test_no_resume_sets_the_old_run_aside(tmp_path: Path) -> None:
    """A fresh start loses nothing of what was there."""
    tiny(tmp_path, config(steps=4))
    before = weights(tmp_path)
    tiny(tmp_path, config(steps=2, optimizer={"lr": 0.1}), resume=False)
    assert (tmp_path / "before-1" / "model" / "model.safetensors").read_bytes() == before
    assert losses(tmp_path)[-1]["step"] == 2


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    """The lock of a living process holds; that of a dead one, or a torn one, does not."""
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    try:
        from chiasm.train.lock import _process

        assert child.pid is not None
        lock = tmp_path / "run.lock"
        lock.write_text(json.dumps(_process(child.pid)))
        with pytest.raises(TrainingError, match=f"in use by process {child.pid}"):
            tiny(tmp_path, config(steps=1))
    finally:
        child.kill()
        child.join()
    assert tiny(tmp_path, config(steps=1)).steps == 1
    lock.write_text('{"pid": 1')
    assert tiny(tmp_path, config(steps=2)).steps == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_ends(tmp_path: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked once to stop, the run saves its step and says that it was interrupted; then it goes on from there."""
    make = Numbers.__getitem__

    def make_and_signal(self: Numbers, index: int) -> dict[str, Any]:
        if index == 21:
            os.kill(os.getpid(), number)
        return make(self, index)

    with monkeypatch.context() as patched:
        patched.setattr(Numbers, "__getitem__", make_and_signal)
        finished = tiny(tmp_path)
    assert (finished.steps, finished.interrupted) == (6, True)
    assert tiny(tmp_path).steps == 24


def test_rates_by_prefix(tmp_path: Path) -> None:
    """A factor of 0 leaves the parameters as they were; a prefix that fits nothing is refused."""
    tiny(tmp_path, config(steps=2, ema=0, optimizer={"groups": {"stem": 0}}))
    torch.manual_seed(0)
    stem = Tiny().stem.weight
    assert torch.equal(load_file(tmp_path / "model" / "model.safetensors")["stem.weight"], stem)
    with pytest.raises(TrainingError, match="no parameter's name begins with stam"):
        tiny(tmp_path / "other", config(steps=2, optimizer={"groups": {"stam": 0.1}}))


def test_a_model_that_was_not_written_any_more_is_written_by_the_same_command(unbroken: Path, tmp_path: Path) -> None:
    """Killed between the last checkpoint and the model's folder."""
    shutil.copytree(unbroken, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "model")
    assert tiny(tmp_path / "run").steps == 24
    assert weights(tmp_path / "run") == weights(unbroken)


def test_a_signal_behind_the_look_at_it_waits_for_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every process must know of it, and they have agreed for this step."""
    seen: list[int] = []

    def update(self: Ema, step: int) -> None:
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        seen.append(step)

    monkeypatch.setattr(Ema, "update", update)
    done = tiny(tmp_path)
    assert (done.steps, done.interrupted) == (6, True)


def test_the_file_of_a_task_is_set_aside_too(tmp_path: Path) -> None:
    (tmp_path / "tilt.safetensors").write_bytes(b"earlier")
    assert _where_from(tmp_path, False, "tilt") is None
    assert (tmp_path / "before-1" / "tilt.safetensors").read_bytes() == b"earlier"
