"""Official folders made on the spot: any configuration, random weights, the tokenizer files of another folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from chiasm.backbone.build import blank_internvl
from chiasm.backbone.official.config import official_config
from chiasm.backbone.official.names import HEAD, places
from chiasm.text.shipped import FILES
from safetensors.torch import save_file


def configuration(shared: Path, size: str, **llm: Any) -> dict[str, Any]:
    """A golden configuration with other values for its language model."""
    file = shared / "golden" / f"internvl2-{size}" / "config.json"
    config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    config["llm_config"] |= llm
    return config


def make_official(folder: Path, config: dict[str, Any], tokenizer: Path, *, seed: int = 0, head: bool = True) -> Path:
    """A folder in the official layout; without `head` the embedding is the head."""
    folder.mkdir(parents=True)
    official = official_config(config, "config.json")
    blank = blank_internvl(official.described(0, tied=False))
    shapes = {name: tuple(tensor.shape) for name, tensor in blank.state_dict().items()}
    generator = torch.Generator().manual_seed(seed)
    weights = {
        place.official: (torch.randn(place.shape(shapes), generator=generator) * 0.1).to(torch.bfloat16)
        for place in places(list(shapes), official.family.name, official.internvl["text_config"])
        if head or place.natives != (HEAD,)
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for name in FILES:
        if (tokenizer / name).exists():
            shutil.copyfile(tokenizer / name, folder / name)
    return folder
