"""A small honest checkpoint, and a way to forge one whose manifest vouches for bad files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from chiasm.checkpoint import TaskFile, write_checkpoint

torch.set_num_threads(1)

Write = Callable[..., None]
Forge = Callable[[str, bytes], None]


def make_task(name: str = "detection", order: int = 0, seed: int = 0) -> TaskFile:
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(2, 1, 16, generator=random)
    decoder = {
        "head.weight": torch.randn(3, 16, generator=random),
        "head.bias": torch.randn(3, generator=random).half(),
    }
    vectors = torch.randn(4, 16, generator=random)
    return TaskFile(name, f"[{name.upper()}]", 4, "chiasm", "0.1.0", order, rows[0], rows[1], vectors, decoder)


@pytest.fixture(scope="session")
def task() -> Callable[..., TaskFile]:
    """Makes a task's file in memory."""
    return make_task


@pytest.fixture(scope="session")
def write() -> Write:
    """Writes a checkpoint to a folder; `seed` makes its content, keywords replace parts."""

    def write(folder: Path, seed: int = 0, **parts: Any) -> None:
        random = torch.Generator().manual_seed(seed)
        core = {f"layer.{i}.weight": torch.randn(8, 16, generator=random).bfloat16() for i in range(4)}
        core["scale"] = torch.tensor(0.5 + seed)
        whole: dict[str, Any] = {
            "design": "internvl",
            "config": {"hidden_size": 16, "name": "ü", "seed": seed},
            "tokenizer_json": json.dumps({"seed": seed}),
            "template": "nano",
            "guided_instruction": "Find.",
            "core": core,
            "tasks": [make_task(seed=seed)],
            "extra": {"steps": [1, 2, seed]},
        }
        write_checkpoint(folder, **{**whole, **parts})

    return write


@pytest.fixture
def folder(tmp_path: Path, write: Write) -> Path:
    """A written checkpoint."""
    write(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def forge(folder: Path) -> Forge:
    """Replaces (or adds) a file and makes the manifest vouch for it."""

    def forge(name: str, data: bytes) -> None:
        (folder / name).write_bytes(data)
        manifest = json.loads((folder / "chiasm.json").read_text())
        manifest["files"][name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        (folder / "chiasm.json").write_text(json.dumps(manifest))

    return forge
