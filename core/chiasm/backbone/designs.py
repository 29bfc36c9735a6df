"""The designs by name; a file of transformers' classes is imported when its design is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from torch import nn

DESIGNS = ("internvl", "llava", "llava_next", "blip2", "qwen2_vl")


def build_design(name: str, config: Mapping[str, Any]) -> nn.Module:
    """A freshly initialised backbone from a checkpoint's `config.json`; `name` is one of `DESIGNS`."""
    backbone: nn.Module = getattr(import_module(f".{name}", __package__), f"build_{name}")(config)
    return backbone
