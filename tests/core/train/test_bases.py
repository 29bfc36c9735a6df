"""A run may start from the mean of several folders: of one model, of what all of them have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from chiasm.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from chiasm.train.bases import read_base
from chiasm.weights import core_tensors, task_file
from chiasm_registry import TrainingError
from core.tiny import tiny_model


def write(folder: Path, factor: float, tasks: tuple[str, ...] = ("detection", "level"), **config: object) -> str:
    """A tiny model's folder with every weight times `factor`."""
    model = tiny_model()
    network = model.network
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(factor)
    files = [
        task_file(network, name, model.table.by_name(name).token, order, "tiny", torch.float32)
        for order, name in enumerate(tasks)
    ]
    write_checkpoint(
        folder,
        design="internvl",
        config={"design": "internvl", **config},
        tokenizer_json=model.tokenizer.json(),
        template="nano",
        guided_instruction="Find what is named.",
        core=core_tensors(network, torch.float32),
        tasks=files,
    )
    return str(folder)


def test_the_mean_of_two_folders(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a", 1.0), write(tmp_path / "b", 2.0)
    mean, alone = read_base([one, other]), read_checkpoint(one)
    for name, tensor in alone.core.items():
        torch.testing.assert_close(mean.core[name], 1.5 * tensor)
    file, own = mean.tasks["detection"], alone.tasks["detection"]
    torch.testing.assert_close(file.vectors, 1.5 * own.vectors)
    for name, tensor in own.decoder.items():
        torch.testing.assert_close(file.decoder[name], 1.5 * tensor)


def test_one_folder_is_itself(tmp_path: Path) -> None:
    folder = write(tmp_path / "a", 1.0)
    for given in (folder, [folder]):
        read = read_base(given)
        assert isinstance(read, Checkpoint)
        assert all(torch.equal(t, read_checkpoint(folder).core[n]) for n, t in read.core.items())


def test_a_task_that_not_all_have_is_the_last_ones(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a", 1.0, ("detection",)), write(tmp_path / "b", 3.0)
    mean, last = read_base([one, other]), read_checkpoint(other)
    assert torch.equal(mean.tasks["level"].vectors, last.tasks["level"].vectors)
    assert not torch.equal(mean.tasks["detection"].vectors, last.tasks["detection"].vectors)


def test_other_models_and_no_model_are_refused(tmp_path: Path) -> None:
    one, other = write(tmp_path / "a", 1.0), write(tmp_path / "b", 1.0, trunk=True)
    with pytest.raises(TrainingError, match=r"model\.base: .* is another model than"):
        read_base([one, other])
    with pytest.raises(TrainingError, match="is an empty list"):
        read_base([])


def test_tensors_of_other_shapes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = read_checkpoint(write(tmp_path / "a", 1.0))
    name = next(iter(one.core))
    odd = replace(one, core={**one.core, name: one.core[name][:1]})
    monkeypatch.setattr("chiasm.train.bases.read_checkpoint", {"one": one, "odd": odd}.__getitem__)
    with pytest.raises(TrainingError, match="different names or shapes"):
        read_base(["odd", "one"])
