"""What a frozen detector's trunk sees in a picture: the yardstick of the perceptual loss. In training only."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from chiasm_registry import TrainingError
from torch import Tensor, nn

SIDE = 160  # pixels a side at which pictures are seen: the maps have 40, 20, 10 and 5 cells
STAGES = ((24, 116, 4), (116, 232, 8), (232, 464, 4))  # inputs, outputs, units of ShuffleNetV2 1.0x
MEAN, STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)  # blue, green, red in 0..255
SLOPE = 0.1


class Unit(nn.Module):
    """A unit of ShuffleNetV2 (Ma et al. 2018), batch norms folded; the first of a stage halves the grid."""

    def __init__(self, inputs: int, outputs: int, first: bool) -> None:
        super().__init__()
        half, stride = outputs // 2, 2 if first else 1
        if first:
            dw = nn.Conv2d(inputs, inputs, 3, 2, 1, groups=inputs)
            self.branch1 = nn.ModuleDict({"dw": dw, "pw": nn.Conv2d(inputs, half, 1)})
        self.branch2 = nn.ModuleDict(
            {
                "pw1": nn.Conv2d(inputs if first else half, half, 1),
                "dw": nn.Conv2d(half, half, 3, stride, 1, groups=half),
                "pw2": nn.Conv2d(half, half, 1),
            }
        )
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        kept, worked = (x, x) if self.first else x.chunk(2, 1)
        if self.first:
            kept = F.leaky_relu(self.branch1["pw"](self.branch1["dw"](x)), SLOPE)
        worked = self.branch2["dw"](F.leaky_relu(self.branch2["pw1"](worked), SLOPE))
        worked = F.leaky_relu(self.branch2["pw2"](worked), SLOPE)
        return torch.stack([kept, worked], 2).flatten(1, 2)


class Features(nn.Module):
    """The trunk of NanoDet-Plus-m as published (keys `stem.*`, `stage2.*` ...), frozen."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        """Other names or shapes are a `TrainingError`."""
        super().__init__()
        self.stem = nn.Conv2d(3, STAGES[0][0], 3, 2, 1)
        for number, (inputs, outputs, units) in enumerate(STAGES, start=2):
            stage = [Unit(inputs if k == 0 else outputs, outputs, k == 0) for k in range(units)]
            self.add_module(f"stage{number}", nn.Sequential(*stage))
        try:
            self.load_state_dict({name: weights[name] for name in self.state_dict()})
        except (KeyError, RuntimeError) as error:
            fact = "the initial weights hold no trunk of NanoDet-Plus-m; names or shapes differ"
            raise TrainingError(fact) from error
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """RGB (B, 3, h, w) in -1..1 to four maps, fine to coarse, every location a vector of length one."""
        large = F.interpolate(pictures, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        x = ((large.flip(1) + 1) * 127.5 - self.mean) / self.std
        x = F.leaky_relu(self.stem(x), SLOPE)
        maps = [x := F.max_pool2d(x, 3, 2, 1)]
        for number in range(2, 2 + len(STAGES)):
            maps.append(x := self.get_submodule(f"stage{number}")(x))
        return [F.normalize(found.float(), dim=1) for found in maps]

    def distance(self, pictures: Tensor, truth: Tensor) -> Tensor:
        """(B,) how far two pictures are apart, the mean over the maps (LPIPS, Zhang et al. 2018, unlearned)."""
        with torch.no_grad():
            wanted = self(truth)
        parts = [((a - b) ** 2).sum(1).mean((1, 2)) for a, b in zip(self(pictures), wanted, strict=True)]
        return torch.stack(parts).mean(0)
