"""From a description to a network: which backbone, which rows, which decoders. Weights come from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from chiasm_registry import CheckpointError, Task, TaskTable
from chiasm_registry.errors import shown
from torch import nn
from transformers.initialization import no_init_weights

from .backbone.internvl import build_internvl
from .routing.network import Network
from .routing.sequence import Markers
from .text import Template, Tokenizer

DESIGNS = {"internvl": build_internvl}


def assemble(
    config: Mapping[str, Any], table: TaskTable, tasks: Mapping[str, Task], *, blank: bool = False
) -> Network:
    """A network with fresh weights; `config` is a checkpoint's `config.json`, `tasks` are those to be loaded.

    A `blank` backbone has no values at all yet, which saves their drawing: for a caller who fills in every one.
    """
    design = config.get("design", "internvl")
    if design not in DESIGNS:
        raise CheckpointError(
            f"config.json: unknown design {shown(repr(design))}; this version knows {', '.join(DESIGNS)}"
        )
    with no_init_weights() if blank else nullcontext():
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
