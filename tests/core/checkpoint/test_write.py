"""Whoever is killed, out of room, or not alone while writing leaves the old checkpoint or the new one, whole."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from chiasm.checkpoint import TaskEntry, TaskFile, read_checkpoint, write_again
from chiasm.checkpoint.folder import is_temporary
from chiasm_registry.errors import CheckpointError

Write = Callable[..., None]
Task = Callable[..., TaskFile]
STEPS = ("open", "fsync", "replace", "unlink")  # the system calls that change what a reader sees


def test_everything_comes_back(folder: Path, task: Task) -> None:
    """What was written is what is read, and nothing else lies there."""
    checkpoint = read_checkpoint(folder)
    assert checkpoint.config == {"hidden_size": 16, "name": "ü", "seed": 0}
    assert checkpoint.tokenizer_json == '{"seed": 0}'
    assert checkpoint.manifest.design == "internvl"
    assert checkpoint.manifest.guided_instruction == "Find."
    assert checkpoint.manifest.extra == {"steps": [1, 2, 0]}
    assert checkpoint.core["layer.0.weight"].dtype == torch.bfloat16
    assert torch.equal(checkpoint.tasks["detection"].vectors, task().vectors)
    names = {"chiasm.json", "config.json", "tokenizer.json", "core.safetensors", "detection.safetensors"}
    assert set(os.listdir(folder)) == names


def test_a_task_left_out_keeps_its_place(tmp_path: Path, write: Write, task: Task) -> None:
    """The table holds it; its weights are nowhere."""
    place = TaskEntry(name="depth", token="[DEPTH]", embeddings=4, distribution="acme", version="2", order=0)
    write(tmp_path / "m", tasks=[task(order=1)], absent=[place])
    checkpoint = read_checkpoint(tmp_path / "m")
    assert [entry.name for entry in checkpoint.manifest.tasks] == ["depth", "detection"]
    assert set(checkpoint.tasks) == {"detection"}


def test_written_again_it_is_the_same(tmp_path: Path, write: Write, task: Task) -> None:
    """Every file to the byte: kept ones, what the caller said, and the place of a task without weights."""
    place = TaskEntry(name="depth", token="[DEPTH]", embeddings=4, distribution="acme", version="2", order=0)
    said = {"openings": {"I looked": 2.0}, "echoes": ("I looked for",), "kept": {"config.json": b'{"a": 1}'}}
    write(tmp_path / "m", tasks=[task(order=1)], absent=[place], **said)
    write_again(tmp_path / "again", read_checkpoint(tmp_path / "m"))
    files = {path.name: path.read_bytes() for path in (tmp_path / "m").iterdir()}
    assert "official-config.json" in files
    manifest = read_checkpoint(tmp_path / "again").manifest
    assert (manifest.openings, manifest.echoes) == ({"I looked": 2.0}, ("I looked for",))
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "again").iterdir()}


@pytest.mark.parametrize("openings", [{"I": -1.0}, {"I": 1000.0}, {"": 1.0}, {f"I {k}": 1.0 for k in range(17)}])
def test_openings_of_no_use_are_refused(tmp_path: Path, write: Write, openings: dict[str, float]) -> None:
    with pytest.raises(CheckpointError, match="'openings' is not fit to be stored"):
        write(tmp_path / "m", openings=openings)


def test_a_large_core_is_split_on_request(tmp_path: Path, write: Write) -> None:
    """Shards of at most so many bytes; written again whole, the shards are gone."""
    core = {f"w{i}": torch.full((100,), float(i)) for i in range(7)}
    write(tmp_path / "m", core=core, max_shard_bytes=900)
    assert sum(name.startswith("core-") for name in os.listdir(tmp_path / "m")) == 4
    assert all(torch.equal(tensor, core[name]) for name, tensor in read_checkpoint(tmp_path / "m").core.items())
    write(tmp_path / "m", core=core)
    assert [name for name in os.listdir(tmp_path / "m") if name.startswith("core")] == ["core.safetensors"]


@pytest.mark.parametrize(
    "parts",
    [
        {"config": {"a": float("nan")}},
        {"config": {"a": object()}},
        {"config": {"auto_map": {}}},
        {"extra": {"a": float("inf")}},
        {"core": {"a": torch.ones(2).double()}},
        {"core": {"a": torch.tensor(float("nan"))}},
        {"design": 5},
        {"tokenizer_json": "\ud800"},
    ],
)
def test_what_could_not_be_read_is_not_written(folder: Path, write: Write, parts: dict[str, Any]) -> None:
    """Refused, with the old checkpoint as it was and no stray file."""
    before = sorted(os.listdir(folder))
    with pytest.raises(CheckpointError):
        write(folder, seed=1, **parts)
    assert sorted(os.listdir(folder)) == before
    assert read_checkpoint(folder).config["seed"] == 0


def test_two_tasks_of_one_name_or_token_are_refused(tmp_path: Path, write: Write, task: Task) -> None:
    """Before anything is written."""
    for tasks in ([task(), task(order=1)], [task(), TaskFile(**{**vars(task("depth", 1)), "token": "[DETECTION]"})]):
        with pytest.raises(CheckpointError, match="two tasks with the same"):
            write(tmp_path / "m", tasks=tasks)
    with pytest.raises(CheckpointError, match="named 'core'"):
        write(tmp_path / "m", tasks=[task("core")])
    assert not (tmp_path / "m").exists()


def test_files_of_others_are_not_touched(tmp_path: Path, write: Write) -> None:
    """A folder with something else in it is no place for a checkpoint."""
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match=r"holds 'thesis\.tex'"):
        write(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def dying_writer(write: Write, folder: Path, steps: int) -> bool:
    """Writes checkpoint 1 in a child that is gone, without a word, before its system call number `steps`."""
    child = os.fork()
    if child == 0:
        left = [steps]

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def run(*arguments: Any, **options: Any) -> Any:
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)
                return call(*arguments, **options)

            return run

        for name in STEPS:
            setattr(os, name, counted(getattr(os, name)))
        try:
            write(folder, seed=1, tasks=[])
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 9


def test_a_writer_killed_at_any_step_leaves_a_whole_checkpoint(tmp_path: Path, write: Write) -> None:
    """Before the commit the old one, from then on the new one; the next writer sweeps what is left."""
    seen, steps = [], 0
    while True:
        folder = tmp_path / str(steps)
        write(folder, seed=0)
        died = dying_writer(write, folder, steps)
        checkpoint = read_checkpoint(folder)
        seed = checkpoint.config["seed"]
        assert float(checkpoint.core["scale"]) == 0.5 + seed
        assert checkpoint.tokenizer_json == f'{{"seed": {seed}}}'
        assert set(checkpoint.tasks) == ({"detection"} if seed == 0 else set())
        seen.append(seed)
        write(folder, seed=2)
        assert read_checkpoint(folder).config["seed"] == 2
        assert not any(is_temporary(name) for name in os.listdir(folder))
        if not died:
            break
        steps += 1
    assert seen == sorted(seen)
    assert {0, 1} == set(seen)
    assert steps > 12


@pytest.mark.slow
def test_a_writer_killed_at_a_random_moment_leaves_a_whole_checkpoint(tmp_path: Path, write: Write) -> None:
    """The same with a real signal, forty times."""
    folder = tmp_path / "m"
    write(folder, seed=0)
    for attempt in range(40):
        child = os.fork()
        if child == 0:
            try:
                for seed in range(1, 10_000):
                    write(folder, seed=seed)
            finally:
                os._exit(1)
        time.sleep(0.002 + 0.0017 * attempt)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        checkpoint = read_checkpoint(folder)
        assert float(checkpoint.core["scale"]) == 0.5 + checkpoint.config["seed"]
    write(folder, seed=5)
    assert not any(is_temporary(name) for name in os.listdir(folder))


def test_a_full_disk_leaves_the_old_checkpoint(folder: Path, write: Write) -> None:
    """One line, the old set whole, no stray file."""
    before = sorted(os.listdir(folder))
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            write(folder, seed=1, core={"w": torch.ones(5_000)})
        except CheckpointError as error:
            os._exit(0 if "disk with room" in str(error) else 2)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert sorted(os.listdir(folder)) == before
    assert read_checkpoint(folder).config["seed"] == 0


def test_two_writers_at_once(folder: Path, write: Write) -> None:
    """The second is refused and the first undisturbed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(CheckpointError, match="being written by another process"):
            write(folder, seed=1)
    finally:
        os.close(descriptor)
    write(folder, seed=1)
    assert read_checkpoint(folder).config["seed"] == 1


def test_a_path_that_cannot_be_a_folder(tmp_path: Path, write: Write) -> None:
    """A file in the way is named."""
    (tmp_path / "x").write_text("")
    with pytest.raises(CheckpointError, match="cannot write"):
        write(tmp_path / "x")
