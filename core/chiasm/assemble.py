"""From a description to a network: which backbone, which rows, which decoders. Weights come from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, cast

from accelerate import init_empty_weights
from chiasm_registry import CheckpointError, CoreInfo, PluginError, Task, TaskTable
from chiasm_registry.errors import shown
from chiasm_registry.guard import guarded
from torch import nn
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from .backbone.designs import DESIGNS, build_design
from .backbone.protocol import Backbone
from .limits import LIMITS
from .routing.network import Network
from .routing.sequence import Markers
from .text import Template, Tokenizer

SLOW_BUILD_S = 30.0


def assemble(config: Mapping[str, Any], table: TaskTable, tasks: Mapping[str, Task], *, blank: bool = False) -> Network:
    """A network with fresh weights; `config` is a checkpoint's `config.json`, `tasks` are those to be loaded.

    A `blank` backbone has no values at all yet, which saves their drawing: for a caller who fills in every one.
    """
    backbone = build_backbone(config, blank=blank)
    info = cast(Backbone, backbone).info
    decoders = {name: build_decoder(task, info) for name, task in tasks.items()}
    return Network(backbone, table, decoders)


def build_backbone(config: Mapping[str, Any], *, blank: bool = False) -> nn.Module:
    """A fresh or blank backbone, which fulfils `Backbone`, of the design that `config` names."""
    design = config.get("design", "internvl")
    if not isinstance(design, str) or design not in DESIGNS:
        raise CheckpointError(
            f"config.json: unknown design {shown(repr(design), 40)}; this version knows {', '.join(DESIGNS)}"
        )
    with no_init_weights() if blank else nullcontext():
        return build_design(design, config)


def empty_backbone(config: Mapping[str, Any]) -> nn.Module:
    """A backbone whose parameters have no memory yet; its buffers have their values."""
    with init_empty_weights(include_buffers=False):
        backbone = build_backbone(config, blank=True)
    for part in backbone.children():  # what was one tensor became two when its memory was taken away
        if isinstance(part, PreTrainedModel):
            part.tie_weights()
    return backbone


def build_decoder(task: Task, info: CoreInfo) -> nn.Module:
    """The task's fresh decoder, built behind a guard; whatever goes wrong is a `PluginError`."""
    name, home = task.spec.name, type(task).__module__
    outcome = guarded(lambda: _tried(task.decoder(replace(info))), f"the building of task {name!r}", home, SLOW_BUILD_S)
    if outcome.fault is not None:
        raise PluginError(f"the decoder of task {name!r} cannot be built: {shown(outcome.fault, 120)}")
    decoder: object = outcome.value
    if not isinstance(decoder, nn.Module) or not callable(getattr(decoder, "decode", None)):
        kind = shown(type(decoder).__name__, 40)
        raise PluginError(f"decoder() of task {name!r} returned a {kind}; return an nn.Module with decode()")
    return decoder


def _tried(decoder: object) -> object:
    """The decoder, once through what core does with it later, where no guard stands."""
    if isinstance(decoder, nn.Module):
        for kind in {kind for module in decoder.modules() for kind in type(module).__mro__ if "__del__" in vars(kind)}:
            del kind.__del__  # type: ignore[attr-defined]  # this one is about to be let go of, where nobody guards
            raise PluginError(f"{shown(kind.__name__, 40)} has a __del__, which nobody could guard; take it out")
        size = sum(parameter.numel() for parameter in decoder.parameters())
        if size > LIMITS.decoder_parameters:
            raise PluginError(f"it has {size:,} parameters; {LIMITS.decoder_parameters:,} are the most")
        decoder.train(decoder.training).state_dict()
    return decoder


def markers_of(tokenizer: Tokenizer, template: Template, *, text_boxes: bool = False) -> Markers:
    """The ids that frame phrases, end answers and hold images; `text_boxes` of a model that writes boxes as text."""
    return Markers(
        ref=tokenizer.id_of("<ref>"),
        unref=tokenizer.id_of("</ref>"),
        end=tokenizer.id_of(template.stop),
        image=tokenizer.id_of("<IMG_CONTEXT>"),
        box=tokenizer.control_ids.get("<box>") if text_boxes else None,
        unbox=tokenizer.control_ids.get("</box>") if text_boxes else None,
    )
