"""A model that came from an official folder keeps its way back, whatever it learns and whichever task joins it."""

from __future__ import annotations

from pathlib import Path

import torch
from chiasm.checkpoint import add_tasks, read_checkpoint
from chiasm.train.trainer import train
from chiasm.transfer import convert_internvl2, export_official
from core.test_transfer import official, tensors_of
from core.train.test_alone import _both_installed as _both_installed
from core.train.test_alone import alone
from core.train.test_build import config
from core.train.test_build import data as data

MODEL = {"dropout": 0.0}
VIEWS = {"views": {"size": 112, "source": 128}, "branches": 2, "conversations": 1}


def test_a_trained_and_joined_model_goes_back(shared: Path, data: Path, tmp_path: Path) -> None:
    """The tensors are those that it learned, the other files those that it came with; it is spoken to as before."""
    source = official(shared, "2b", tmp_path / "official")
    convert_internvl2(source, tmp_path / "ours")
    run = {"steps": 1, "batch_size": 2, "ema": 0, "workers": 0, "seed": 5}
    rates = {"lr": 0.01, "warmup_steps": 0}
    whole = {"base": str(tmp_path / "ours"), **MODEL}
    train(config(data, model=whole, mixture=VIEWS, run=run, optimizer=rates), tmp_path / "run", quiet=True)
    more = {"base": str(tmp_path / "run" / "model"), **MODEL}
    train(alone(data, tmp_path, model=more, mixture=VIEWS), tmp_path / "more", quiet=True)
    add_tasks(tmp_path / "run" / "model", [tmp_path / "more" / "abacus.safetensors"], tmp_path / "joined")

    said = [read_checkpoint(tmp_path / folder).manifest for folder in ("ours", "run/model", "joined")]
    assert {manifest.template for manifest in said} == {"internlm2-chat"}
    assert len({manifest.guided_instruction for manifest in said}) == 1

    for folder in ("run/model", "joined"):
        count, left = export_official(tmp_path / folder, tmp_path / "back" / folder)
        before, after = tensors_of(source), tensors_of(tmp_path / "back" / folder)
        assert count == len(before)
        assert left == ("detection", "abacus")[: 1 + (folder == "joined")]
        assert {n: (t.shape, t.dtype) for n, t in before.items()} == {n: (t.shape, t.dtype) for n, t in after.items()}
        assert sum(not torch.equal(before[name], after[name]) for name in before) > 20
        for file in source.glob("*[!s]"):
            assert file.read_bytes() == (tmp_path / "back" / folder / file.name).read_bytes()
