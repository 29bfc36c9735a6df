"""An official folder becomes chiasm's and comes back, to the bit, for every size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import chiasm
import pytest
import torch
from chiasm.cli.app import run
from chiasm.transfer import export_official
from chiasm_registry.errors import CheckpointError
from safetensors import safe_open
from torch import Tensor

SIZES = ("1b", "2b", "4b", "8b", "26b", "40b", "76b")


def tensors_of(folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for file in folder.glob("model*.safetensors"):
        with safe_open(file, "pt") as stored:
            found |= {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  # it is no mapping
    return found


def official(shared: Path, size: str, to: Path) -> Path:
    to.mkdir()
    for file in (shared / "golden" / f"internvl2-{size}").iterdir():
        if not file.name.startswith(("golden", "config_tie")):
            shutil.copyfile(file, to / file.name)
    return to


@pytest.mark.parametrize("size", SIZES)
def test_there_and_back_every_bit_is_the_same(
    shared: Path, tmp_path: Path, size: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = official(shared, size, tmp_path / "official")
    if size == "26b":  # several shards on the way back, too
        monkeypatch.setattr("chiasm.transfer.SHARD_BYTES", 100_000)
    assert run(["convert", "internvl2", str(source), str(tmp_path / "ours")]) == 0
    assert run(["export", "official", str(tmp_path / "ours"), str(tmp_path / "again")]) == 0
    assert "tensors in" in capsys.readouterr().out
    first, second = tensors_of(source), tensors_of(tmp_path / "again")
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype
        assert torch.equal(tensor.view(torch.uint8), second[name].view(torch.uint8)), name
    others = {file.name for file in source.iterdir() if not file.name.startswith("model")}
    assert others == {file.name for file in (tmp_path / "again").iterdir() if not file.name.startswith("model")}
    for name in others:
        assert (source / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    if (index := tmp_path / "again" / "model.safetensors.index.json").exists():
        assert set(json.loads(index.read_text())["weight_map"]) == set(first)


def test_the_converted_model_is_the_same_model(shared: Path, tmp_path: Path) -> None:
    source = official(shared, "2b", tmp_path / "official")
    assert run(["convert", "internvl2", str(source), str(tmp_path / "ours")]) == 0
    one, other = (chiasm.load(folder, tasks=[]) for folder in (source, tmp_path / "ours"))
    assert one.template == other.template
    assert one.tokenizer.json() == other.tokenizer.json()
    assert one.ask(None, "Hello, who are you?", max_new_tokens=6).text == other.ask(
        None, "Hello, who are you?", max_new_tokens=6
    ).text
    for (name, a), (_, b) in zip(one.network.named_parameters(), other.network.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_what_came_from_elsewhere_has_no_way_back(tmp_path: Path) -> None:
    nano = Path(chiasm.__file__).parent / "models" / "nano" / "weights"
    with pytest.raises(CheckpointError, match="came from no official folder"):
        export_official(nano, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_nothing_is_overwritten(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = official(shared, "2b", tmp_path / "official")
    assert run(["convert", "internvl2", str(source), str(tmp_path / "ours")]) == 0
    assert run(["export", "official", str(tmp_path / "ours"), str(source)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert run(["convert", "internvl2", str(tmp_path / "ours"), str(tmp_path / "more")]) == 2
    assert "own already" in capsys.readouterr().err
