"""A short run that keeps each step's weights, for one process or several of torchrun; not a test, started by one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from chiasm.train.config import TrainConfig, parse_config
from chiasm.train.trainer import train
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import Dataset

STEPS, EMA = 6, 0.3  # the warm-up of the decay ends inside the run
CONFIG = {
    "run": {"steps": STEPS, "batch_size": 4, "save_every": 4, "workers": 0, "ema": EMA, "precision": "fp32"},
    "optimizer": {"lr": 0.05, "warmup_steps": 0, "schedule": "constant", "groups": {"frozen": 0}},
}


class Numbers(Dataset[Tensor]):
    """Item i is a function of i."""

    def __getitem__(self, index: int) -> Tensor:
        return torch.randn(3, generator=torch.Generator().manual_seed(index))


class Sum(nn.Module):
    """Learns to sum three numbers, and remembers its weights as they were at the start of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.stem, self.head = nn.Linear(3, 3), nn.Linear(3, 6), nn.Linear(6, 1)
        self.history: list[dict[str, Tensor]] = []

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.history.append({name: tensor.detach().clone() for name, tensor in self.state_dict().items()})
        error = self.head(torch.tanh(self.stem(self.frozen(x)))).squeeze(1) - x.sum(1)
        return {"loss": error.square().mean()}


class SumBuild:
    """What the builder gives; the weights of all steps are saved beside the model."""

    def __init__(self, config: TrainConfig, report: Callable[[str], None]) -> None:
        self.module, self.dataset = Sum(), Numbers()

    @staticmethod
    def collate(items: list[Tensor]) -> dict[str, Any]:
        return {"x": torch.stack(items)}

    def save(self, module: nn.Module, folder: Path) -> None:
        steps: list[Mapping[str, Tensor]] = self.module.history
        save_file(module.state_dict(), folder / "model.safetensors")
        past = {f"{step}/{name}": value for step, of_step in enumerate(steps) for name, value in of_step.items()}
        save_file(past, folder / "history.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(parse_config(CONFIG), sys.argv[1], build=SumBuild, quiet=True)
    if torch.distributed.is_initialized():  # a process that leaves before the other may abort it
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
