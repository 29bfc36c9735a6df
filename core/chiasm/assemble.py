"""From a description to a network: which backbone, which rows, which decoders. Weights come from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chiasm_registry import CheckpointError, Task, TaskTable
from chiasm_registry.errors import shown
from torch import nn

from .backbone.internvl import build_internvl
from .routing.network import Network
from .routing.sequence import Markers
from .text import Template, Tokenizer

DESIGNS = {"internvl": build_internvl}


def assemble(config: Mapping[str, Any], table: TaskTable, tasks: Mapping[str, Task]) -> Network:
    """A network with fresh weights; `config` is a checkpoint's `config.json`, `tasks` are those to be loaded."""
    design = config.get("design", "internvl")
    if design not in DESIGNS:
        raise CheckpointError(
            f"config.json: unknown design {shown(repr(design))}; this version knows {', '.join(DESIGNS)}"
        )
    backbone = DESIGNS[design](config)
    decoders: dict[str, nn.Module] = {}
    for name, task in tasks.items():
        decoder = task.decoder(backbone.info)
        assert isinstance(decoder, nn.Module)
        decoders[name] = decoder
    return Network(backbone, table, decoders)


def markers_of(tokenizer: Tokenizer, template: Template) -> Markers:
    """The ids that frame phrases, end answers and hold images."""
    return Markers(
        ref=tokenizer.id_of("<ref>"),
        unref=tokenizer.id_of("</ref>"),
        end=tokenizer.id_of(template.stop),
        image=tokenizer.id_of("<IMG_CONTEXT>"),
    )
