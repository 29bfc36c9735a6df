"""`chiasm.load`: from a name or a folder to a `Model`. All of it stands, or a `ChiasmError` says why not."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from chiasm_registry import Catalog, CheckpointError, InputError, PluginError, Task, TaskTable
from chiasm_registry.discovery import discover
from chiasm_registry.errors import shown, shown_path
from chiasm_registry.guard import clean
from chiasm_registry.outputs import NOTICE_CHARS, Notice
from chiasm_registry.table import circles
from torch import nn

from .assemble import build_backbone, build_decoder, empty_backbone, markers_of
from .backbone.protocol import Backbone
from .backbone.tiling import MOST_TILES, tiling_of
from .checkpoint import Checkpoint, Manifest
from .filling import fill_tasks, given_files
from .model import Model
from .models import model_folder
from .options import listed, told
from .placement import Placement
from .routing.network import Network
from .source import open_model
from .text import TEMPLATES, Template, Tokenizer
from .weights import check_core

_SEED = 0  # of what no checkpoint fills; the caller's own random state is left alone


def load(
    name_or_path: str | os.PathLike[str] = "nano",
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | str | None = None,
    tasks: Sequence[str] | None = None,
    tasks_from: Sequence[str | os.PathLike[str]] = (),
    plugins: Sequence[object] = (),
    follow_links: bool = False,
    device_map: str | Mapping[str, Any] | None = None,
    max_memory: Mapping[Any, Any] | None = None,
    quantize: str | None = None,
    min_tiles: int | None = None,
    max_tiles: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Model:
    """A model, ready to be asked: an embedded one by name, or a folder: chiasm's, official InternVL2, transformers'.

    `dtype` is torch's or its name; None is float32 on a CPU and bfloat16 elsewhere. `tasks` None loads every task that
    is installed and sound; `tasks_from` are task files (`NAME.safetensors`) that replace or complete the folder's;
    `plugins` are objects with the hook `chiasm_tasks`, for notebooks. `device_map` (accelerate's) spreads the core
    within `max_memory`, `quantize` "8bit" or "4bit" makes it smaller. Images are cut into `min_tiles` to `max_tiles`;
    None is what the folder says. Links are refused unless `follow_links`; `progress` hears bytes read and in all.
    """
    place = Placement.of(device, dtype, device_map, max_memory=max_memory, quantize=quantize, progress=progress)
    checkpoint = _retiled(open_model(_folder(name_or_path), follow_links=follow_links), min_tiles, max_tiles)
    catalog, template = discover().extended(listed(plugins, "plugins")), _template(checkpoint)
    with torch.random.fork_rng(devices=[]), torch.inference_mode(False):
        torch.default_generator.manual_seed(_SEED)
        network, table, broken = _built(checkpoint, _chosen(catalog, tasks), all_of_them=tasks is not None)
        tokenizer = _tokenizer(checkpoint, table, network)
        where = place.fill(network, checkpoint)
        filled = fill_tasks(network, table, checkpoint, given_files(tasks_from, table))
    _settle(network, where, place.dtype)
    return Model(
        network=network,
        table=table,
        tokenizer=tokenizer,
        template=template,
        markers=markers_of(tokenizer, template, text_boxes=checkpoint.config.get("text_boxes") is True),
        **_manner(checkpoint.manifest),
        untrained=frozenset(filled.untrained),
        notices=_notices(catalog, {**broken, **filled.untrained, **filled.notes}, checkpoint, table),
    )


def _manner(manifest: Manifest) -> dict[str, Any]:
    """How a model speaks, as its folder says."""
    return {"instruction": manifest.guided_instruction, "openings": manifest.openings, "echoes": manifest.echoes}


def _folder(name_or_path: str | os.PathLike[str]) -> Path:
    """An embedded model's folder, or the path as it is."""
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise InputError(f"the model must be a name or a path, not {told(name_or_path)}")
    try:
        return model_folder(name_or_path)
    except OSError:
        name = shown_path(name_or_path, 60)
        raise InputError(f"no model {name}: neither embedded nor a path that can be read") from None


def _retiled(checkpoint: Checkpoint, min_tiles: int | None, max_tiles: int | None) -> Checkpoint:
    """The checkpoint whose images are cut as the caller says."""
    wanted = {"min_tiles": min_tiles, "max_tiles": max_tiles}
    for what, value in wanted.items():
        if value is not None and (type(value) is not int or not 1 <= value <= MOST_TILES):
            raise InputError(f"{what} is {told(value)}; it must be a whole number from 1 to {MOST_TILES}")
    if any(wanted.values()) and checkpoint.config.get("design", "internvl") != "internvl":
        raise InputError("min_tiles and max_tiles are for InternVL; this model cuts images in its own way")
    config = {**checkpoint.config, **{key: value for key, value in wanted.items() if value is not None}}
    tiling = tiling_of({**config, "min_tiles": 1})
    if config.get("min_tiles", 1) > tiling.max_tiles:
        raise InputError(f"min_tiles {config['min_tiles']} is over max_tiles {tiling.max_tiles}")
    return replace(checkpoint, config=config)


def _template(checkpoint: Checkpoint) -> Template:
    name = checkpoint.manifest.template
    if name not in TEMPLATES:
        raise CheckpointError(
            f"the checkpoint wants the prompt template {shown(repr(name), 40)}; known: {', '.join(TEMPLATES)}"
        )
    template, system = TEMPLATES[name], checkpoint.config.get("system")
    return replace(template, system=system) if isinstance(system, str) else template


def _chosen(catalog: Catalog, names: Sequence[str] | None) -> dict[str, Task]:
    if names is None:
        return dict(catalog.tasks)
    chosen = {}
    for name in listed(names, "tasks"):
        if not isinstance(name, str):
            raise InputError(f"tasks must hold names, not {told(name)}")
        chosen[name] = catalog.task(name)
    return chosen


def _built(
    checkpoint: Checkpoint, tasks: Mapping[str, Task], *, all_of_them: bool
) -> tuple[Network, TaskTable, dict[str, str]]:
    """The network with fresh weights, its table, and the tasks that had to be left out, with the reason."""
    if checkpoint.manifest.files or checkpoint.config["design"] != "internvl":  # official and native ones were checked
        with torch.device("meta"):  # a description that does not fit its tensors never gets any memory
            check_core(build_backbone(checkpoint.config, blank=True), checkpoint.core)
    backbone = empty_backbone(checkpoint.config)
    decoders: dict[str, nn.Module] = {}
    broken: dict[str, str] = {}
    if not all_of_them:
        stuck = circles({name: task.spec.after for name, task in tasks.items()})
        why = f"{', '.join(stuck)} wait for each other in `after`"
        broken = {name: f"task {name!r} is left out: {why}" for name in stuck}
        broken |= _without_a_token(checkpoint, tasks)
    for name, task in tasks.items():
        if name in broken:
            continue
        try:
            decoders[name] = build_decoder(task, cast(Backbone, backbone).info)
        except PluginError as error:
            if all_of_them:
                raise
            broken[name] = f"task {name!r} is left out: {error}"
    table = TaskTable.build([tasks[name] for name in decoders], checkpoint.manifest.tasks)
    return Network(backbone, table, decoders), table, broken


def _without_a_token(checkpoint: Checkpoint, tasks: Mapping[str, Task]) -> dict[str, str]:
    """Tasks whose routing token is a word of the model already, with the reason to leave them out."""
    stored = {entry.name for entry in checkpoint.manifest.tasks}
    tokens = {name: task.spec.token for name, task in tasks.items() if name not in stored}
    why = "is left out: its token is a word of this model already"
    return {name: f"task {name!r} {why}" for name, token in tokens.items() if f'"{token}"' in checkpoint.tokenizer_json}


def _tokenizer(checkpoint: Checkpoint, table: TaskTable, network: Network) -> Tokenizer:
    tokenizer = Tokenizer.from_json(checkpoint.tokenizer_json, table.tokens)
    if tokenizer.size > network.backbone.vocabulary:
        raise CheckpointError(
            f"tokenizer.json has {tokenizer.size} tokens, config.json a vocabulary of {network.backbone.vocabulary}"
        )
    return tokenizer


def _settle(network: Network, where: torch.device, dtype: torch.dtype) -> None:
    """What stands beside the core, to its place and type."""
    network.requires_grad_(False).eval()
    for part in (network.rows, network.decoders):
        part.to(where, dtype)


def _notices(
    catalog: Catalog, faults: Mapping[str, str], checkpoint: Checkpoint, table: TaskTable
) -> tuple[Notice, ...]:
    """What a person should know before asking: broken plugins, tasks without weights, tasks that are not loaded."""
    said: list[tuple[str, str | None]] = [
        (f"plugin {info.name!r} is {info.status}: {info.reason}", None)
        for info in catalog.plugins
        if info.status not in ("ok", "disabled")
    ]
    absent = [entry.name for entry in checkpoint.manifest.tasks if entry.name not in {*table.tasks, *faults}]
    said += [(text, name) for name, text in faults.items()]
    said += [(f"task {name!r} of this checkpoint is not loaded", name) for name in absent]
    return tuple(Notice(text=clean(text, NOTICE_CHARS), task=name) for text, name in said)
