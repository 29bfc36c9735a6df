"""Who says what a picture shows: detectors that a caller names, asked for the one name they see most clearly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from chiasm_registry.coco import COCO_NAMES
from chiasm_registry.errors import InputError, shown_path

from ..loading import load
from .picodet import PicoDet

if TYPE_CHECKING:
    from PIL import Image

    from ..model import Model

SIDE = 416  # pixels a side to which a picture is enlarged for a detector
AT_ONCE = 16


class Judge(Protocol):
    """A detector with a name for the report."""

    name: str

    def top(self, pictures: Sequence[Image.Image]) -> list[str]:
        """For each picture the name that is seen most clearly in it; "" where nothing is."""
        ...


def open_judge(path: str, names: Sequence[str], device: str = "cpu") -> Judge:
    """A safetensors file of PicoDet-S weights, or a chiasm model (its name or folder) that is asked for `names`."""
    if path.endswith(".safetensors"):
        return PublishedJudge(Path(path), device)
    return ModelJudge(path, load(path, device=device, tasks=["detection"]), names)


class PublishedJudge:
    """PicoDet-S from a file; an InputError if the file is not that."""

    def __init__(self, path: Path, device: str) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        self.name = path.stem
        self.device = torch.device(device)
        net = PicoDet()
        try:
            net.load_state_dict(load_file(path))
        except (OSError, SafetensorError, RuntimeError):
            fact = "is no file of PicoDet-S weights with folded batch norms; names or shapes differ"
            raise InputError(f"judge {shown_path(path, 80)} {fact}") from None
        self.net = net.float().eval().to(self.device)

    @torch.inference_mode()
    def top(self, pictures: Sequence[Image.Image]) -> list[str]:
        """The best of the 80 COCO names, however weak."""
        found: list[str] = []
        for start in range(0, len(pictures), AT_ONCE):
            batch = torch.stack([_tensor(picture) for picture in pictures[start : start + AT_ONCE]])
            found += [COCO_NAMES[k] for k in self.net(batch.to(self.device)).argmax(1).tolist()]
        return found


class ModelJudge:
    """A chiasm model that detects; all names are asked of each picture."""

    def __init__(self, name: str, model: Model, names: Sequence[str]) -> None:
        self.name, self.model, self.names = Path(name).name, model, list(names)

    def top(self, pictures: Sequence[Image.Image]) -> list[str]:
        """The label of the best box."""
        large: list[Any] = [_enlarged(picture) for picture in pictures]
        results = self.model.detect(large, self.names, threshold=0.0)
        best = (max(result.objects, key=lambda thing: thing.score or 0.0, default=None) for result in results)
        return ["" if thing is None else thing.label for thing in best]


def _enlarged(picture: Image.Image) -> Image.Image:
    from PIL import Image

    return picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def _tensor(picture: Image.Image) -> torch.Tensor:
    import numpy as np

    return torch.from_numpy(np.array(_enlarged(picture))).permute(2, 0, 1).float() / 255
