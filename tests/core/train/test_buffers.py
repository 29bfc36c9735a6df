"""A decoder that counts keeps its whole numbers: through training, a cut, the model's folder and loading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from chiasm.checkpoint import write_checkpoint
from chiasm.loading import load
from chiasm.train.config import TrainConfig, parse_config
from chiasm.train.trainer import train
from chiasm.weights import core_tensors, task_file
from chiasm_registry import CoreInfo, Decoder, Output, Route, Scene
from core.tiny import Level, LevelTask, description, tiny_network, tokenizer
from torch import Tensor, nn
from torch.utils.data import Dataset

LARGE = 2**40 + 1  # no float of a checkpoint could hold it


class Counting(nn.Module):
    """Has a row of weights a kind, a table of kinds, a count of what it was taught, and a flag."""

    kinds: Tensor
    taught: Tensor
    begun: Tensor

    def __init__(self, core: CoreInfo) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(3, core.width))
        self.register_buffer("kinds", torch.tensor([2, 0, 1]))
        self.register_buffer("taught", torch.tensor(LARGE))
        self.register_buffer("begun", torch.tensor([False, False]))

    def teach(self, wanted: Tensor) -> Tensor:
        self.taught += len(wanted)
        self.begun[1] = True
        return (self.rows[self.kinds].sum(1) - wanted).square().mean()

    def decode(self, scene: Scene, routes: Sequence[Route]) -> Sequence[Output]:
        return [Level(slots=float(self.taught - LARGE), maps=0.0, pixels=float(self.begun[1])) for _ in routes]


class CountTask(LevelTask):
    def decoder(self, core: CoreInfo) -> Decoder:
        return Counting(core)


class Items(Dataset[Tensor]):
    def __getitem__(self, index: int) -> Tensor:
        return torch.tensor([1.0, 2.0, 3.0])


class Trainee(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = tiny_network([CountTask()])
        self.network.decoders.requires_grad_(True)

    def forward(self, wanted: Tensor) -> dict[str, Tensor]:
        decoder: Any = self.network.decoders["level"]
        return {"loss": decoder.teach(wanted)}


class CountBuild:
    def __init__(self, config: TrainConfig, report: Callable[[str], None]) -> None:
        self.module, self.dataset = Trainee(), Items()

    @staticmethod
    def collate(items: list[Tensor]) -> dict[str, Tensor]:
        return {"wanted": torch.stack(items)}

    def save(self, module: Any, folder: Path) -> None:
        write_checkpoint(
            folder,
            design="internvl",
            config=description(),
            tokenizer_json=tokenizer().json(),
            template="nano",
            guided_instruction="Find what is named.",
            core=core_tensors(module.network, torch.bfloat16),
            tasks=[task_file(module.network, "level", "[LEVEL]", 0, "chiasm", torch.bfloat16)],
        )


def test_whole_numbers_of_a_decoder_are_kept(tmp_path: Path) -> None:
    run = {"steps": 4, "batch_size": 2, "save_every": 2, "workers": 0, "ema": 0.5, "precision": "fp32"}
    config = parse_config({"run": run, "optimizer": {"warmup_steps": 0}})
    assert train(config, tmp_path, build=CountBuild, quiet=True, limit_steps=2).steps == 2
    assert train(config, tmp_path, build=CountBuild, quiet=True).steps == 4
    model = load(tmp_path / "model", tasks=["level"], plugins=[CountTask()])
    decoder: Any = model.network.decoders["level"]
    assert not model.untrained
    assert decoder.taught.item() == LARGE + 8
    assert decoder.kinds.tolist() == [2, 0, 1]
    assert decoder.begun.tolist() == [False, True]
    assert decoder.rows.any()
    (output,) = model.run("level", torch.zeros(40, 60, 3, dtype=torch.uint8).numpy(), ["cup"]).outputs["level"]
    assert (output.slots, output.pixels) == (8.0, 1.0)
