"""What a run saves is the average of its steps' weights, computed here by hand, however many processes took them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from core.train.averaged_run import EMA, STEPS
from safetensors.torch import load_file
from torch import Tensor

RUN = Path(__file__).with_name("averaged_run.py")
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [[], TORCHRUN], ids=["one process", "two processes"])
def test_the_saved_model_is_the_average_of_the_steps(launcher: list[str], tmp_path: Path) -> None:
    """Not the last weights; and saving on the way leaves the weights that are trained as they were."""
    command = [sys.executable, *launcher, str(RUN), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    past = load_file(tmp_path / "model" / "history.safetensors")
    saved = load_file(tmp_path / "model" / "model.safetensors")
    raw = {step: load_file(tmp_path / "checkpoints" / f"step-{step:08d}" / "weights.safetensors") for step in (4, 6)}
    assert saved.keys() == raw[STEPS].keys()
    for name, value in saved.items():
        after = [past[f"{step}/{name}"] for step in range(STEPS)] + [raw[STEPS][name]]
        assert torch.equal(raw[4][name], after[4])
        assert torch.allclose(value, averaged(after), rtol=0, atol=1e-6)
        assert torch.equal(value, raw[STEPS][name]) == name.startswith("frozen")


def averaged(weights: list[Tensor]) -> Tensor:
    """The moving average of a parameter from before the first step to behind the last."""
    average = weights[0]
    for step, value in enumerate(weights[1:], start=1):
        decay = min(EMA, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * value
    return average
