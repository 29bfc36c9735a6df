"""The page on designs says what its command computes, and shows what its command draws."""

from __future__ import annotations

import runpy
from typing import Any

import pytest
import torch
from house import ROOT

PAGE = (ROOT / "docs" / "backbones.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def command() -> dict[str, Any]:
    torch.set_num_threads(1)
    return runpy.run_path(str(ROOT / "benchmarks" / "backbones.py"))


def test_the_table_is_what_the_command_prints(command: dict[str, Any]) -> None:
    for row in command["table"](command["designs"]()):
        assert row in PAGE.splitlines()


def test_the_drawing_is_what_the_command_draws(command: dict[str, Any]) -> None:
    drawn = command["drawing"](command["designs"]())
    assert (ROOT / "docs" / "backbones.svg").read_text(encoding="utf-8") == drawn


def test_published_sizes_are_counted_as_published(command: dict[str, Any]) -> None:
    """Against the papers' and cards' own words: 2.2 B, 7 B, 3.7 B in all; one matrix of 3.1 M in MiniGPT-4."""
    counted = {one["name"]: command["sizes"](one["config"]) for one in command["designs"]()}
    whole = {name: sum(parts[k] for k in ("eye", "connector", "language")) / 1e9 for name, parts in counted.items()}
    for name, size in {"InternVL2-2B": 2.2, "LLaVA-1.5-7B": 7.1, "BLIP-2 OPT-2.7B": 3.7, "Qwen2-VL-2B": 2.2}.items():
        assert whole[name] == pytest.approx(size, abs=0.06)
    assert counted["MiniGPT-4 (7B)"]["matrix"] / 1e6 == pytest.approx(3.1, abs=0.06)


def test_every_design_has_a_row_and_a_file(command: dict[str, Any]) -> None:
    from chiasm.backbone.designs import DESIGNS

    assert {one["config"]["design"] for one in command["designs"]()} == set(DESIGNS)
    for name in DESIGNS:
        assert f"| `{name}` | `core/chiasm/backbone/{name}.py` |" in PAGE
