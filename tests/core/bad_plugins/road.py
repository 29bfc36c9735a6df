"""All that a program does with plugins, on a tiny core: discover, load, ask, look, draw, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from chiasm.checkpoint import TaskFile, write_checkpoint, write_task_file
from chiasm.limits import LIMITS
from chiasm.loading import load
from chiasm.weights import core_tensors
from chiasm_registry import discover
from core.tiny import WIDTH, description, picture, tiny_network, tokenizer
from registry.installing import install, wheel

GROUP = "chiasm.plugins"
PHRASES = ["dog", "cat"]
SLOW_S = 0.3  # from which a decoder is called slow

GOOD = '''
"""A neighbour whose answers show every number that reaches it."""
from chiasm_registry import Box, Boxes, ScoredBox, Task, TaskSpec, hookimpl

class GoodTask(Task):
    spec = TaskSpec(name="good", token="[GOOD]", embeddings=2, output=Boxes, summary="a neighbour")

    def decoder(self, core):
        import torch
        from torch import nn

        class GoodDecoder(nn.Module):
            def __init__(self):
                super().__init__()
                self.width = core.width
                self.gain = nn.Parameter(torch.ones(core.width))

            def decode(self, scene, routes):
                level = float(sum(m.double().abs().sum() for m in scene.maps) + scene.pixels(8).double().sum())
                return [self.box(level, float((r.slots * self.gain).double().sum()), scene.size_hw) for r in routes]

            def box(self, level, said, size_hw):
                x, y = level % (size_hw[1] / 2), abs(said) % (size_hw[0] / 2)
                return Boxes(items=(ScoredBox(box=Box(xyxy=(0.0, 0.0, x + 1, y + 1)), score=abs(said) % 1),))

        return GoodDecoder()

@hookimpl
def chiasm_tasks():
    return [GoodTask()]
'''


@dataclass(frozen=True)
class Went:
    """What came of the walk."""

    rows: Mapping[str, tuple[str, str]]  # plugin -> status and reason
    good: tuple[str, ...]  # the neighbour's answers, as JSON
    bad: int | None  # answers of the bad task; None: it was not loaded
    notices: tuple[str, ...]
    picture: bytes  # what was drawn
    text: str  # what was written


def good_wheel(folder: Path) -> Path:
    """The neighbour as a wheel."""
    return wheel(folder, "acme-good", {"acme_good.py": GOOD}, f"[{GROUP}]\ngood = acme_good\n")


def lay_down(folder: Path, packages: Sequence[Path]) -> Path:
    """A site folder with the neighbour and these wheels, installed in order."""
    site = folder / "site"
    for path in (good_wheel(folder), *packages):
        install(path, site)
    return site


def checkpoint(folder: Path) -> Path:
    """A tiny model that knows the neighbour and the bad task, with weights of both."""
    files = [task_file("good", 0), task_file("bad", 1)]
    write_checkpoint(
        folder,
        design="internvl",
        config=description(),
        tokenizer_json=tokenizer().json(),
        template="nano",
        guided_instruction="Find what is named.",
        core=core_tensors(tiny_network([]), torch.bfloat16),
        tasks=files,
    )
    return folder


def task_file(name: str, order: int, **changes: Any) -> TaskFile:
    """The weights of one of the two tasks."""
    generator = torch.Generator().manual_seed(order)

    def drawn(rows: int) -> torch.Tensor:
        return torch.randn(rows, WIDTH, generator=generator).to(torch.bfloat16)

    parts: dict[str, Any] = {
        "name": name,
        "token": f"[{name.upper()}]",
        "embeddings": 2,
        "distribution": f"acme-{name}",
        "version": "1.0",
        "order": order,
        "rows_input": drawn(1),
        "rows_output": drawn(1),
        "vectors": drawn(2),
        "decoder": {"gain": torch.ones(WIDTH, dtype=torch.bfloat16)},
    }
    return TaskFile(**{**parts, **changes})


def walk(model_folder: Path, files: Sequence[Path] = ()) -> Went:
    """The road itself; what a plugin does on it is its own business."""
    rows = {info.name: (info.status, info.reason) for info in discover().plugins}
    model = load(model_folder, tasks_from=list(files))
    model = replace(model, limits=replace(LIMITS, decode_s=SLOW_S))
    tasks = [name for name in ("good", "bad") if name in model.table.tasks]
    result = model.run(tasks, picture(), PHRASES)
    drawn, text = result.plot().tobytes(), result.to_json()
    said = (*model.notices, *result.notices)
    bad = len(result.outputs["bad"]) if "bad" in tasks else None
    good = tuple(output.model_dump_json() for output in result.outputs["good"])
    return Went(rows, good, bad, tuple(notice.text for notice in said), drawn, text)


__all__ = ["PHRASES", "Went", "checkpoint", "lay_down", "task_file", "walk", "wheel", "write_task_file"]
