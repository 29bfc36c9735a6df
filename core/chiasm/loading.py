"""`chiasm.load`: from a name or a folder to a `Model`. All of it stands, or a `ChiasmError` says why not."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from chiasm_registry import CheckpointError, ChiasmError, InputError, Task, TaskTable
from chiasm_registry.discovery import Catalog, discover
from chiasm_registry.errors import shown
from chiasm_registry.outputs import Notice

from .assemble import assemble, markers_of
from .checkpoint import Checkpoint, TaskFile, read_checkpoint, read_task_file
from .model import Model
from .models import model_folder
from .routing.network import Network
from .text import TEMPLATES, Template, Tokenizer
from .weights import fill_core, fill_task, start_tasks


def load(
    name_or_path: str | os.PathLike[str] = "nano",
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    tasks: Sequence[str] | None = None,
    tasks_from: Sequence[str | os.PathLike[str]] = (),
    plugins: Sequence[object] = (),
) -> Model:
    """A model, ready to be asked: an embedded one by name, or a chiasm folder by path.

    `dtype` None is float32 on a CPU and bfloat16 elsewhere. `tasks` None loads every task that is installed and sound;
    `tasks_from` are task files (`NAME.safetensors`) that replace or complete the folder's; `plugins` are objects with
    the hook `chiasm_tasks`, for a notebook. What loading had to say is in `Model.notices`.
    """
    where = _device(device)
    checkpoint = read_checkpoint(model_folder(name_or_path))
    catalog = discover().extended(plugins) if plugins else discover()
    files = {**checkpoint.tasks, **_task_files(tasks_from)}
    chosen = _chosen(catalog, tasks)
    table = TaskTable.build(chosen.values(), checkpoint.manifest.tasks)
    template = _template(checkpoint)
    tokenizer = Tokenizer.from_json(checkpoint.tokenizer_json).with_tasks(table.tokens)
    network = assemble(checkpoint.config, table, chosen, blank=True)
    fill_core(network, checkpoint.core)
    faults = _fill_tasks(network, table, chosen, files, checkpoint.faults)
    network.requires_grad_(False).eval().to(where, dtype or (torch.float32 if where.type == "cpu" else torch.bfloat16))
    return Model(
        network=network,
        table=table,
        tokenizer=tokenizer,
        template=template,
        markers=markers_of(tokenizer, template),
        instruction=checkpoint.manifest.guided_instruction,
        untrained=frozenset(faults),
        notices=tuple(Notice(text=text, task=name) for name, text in faults.items()) + _left_out(checkpoint, chosen),
    )


def _device(device: str | torch.device) -> torch.device:
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, TypeError, AssertionError):
        raise InputError(f"device {shown(repr(device), 40)} cannot be used here; 'cpu' always can") from None
    return found


def _task_files(paths: Sequence[str | os.PathLike[str]]) -> dict[str, TaskFile]:
    files: dict[str, TaskFile] = {}
    for path in paths:
        file = read_task_file(path)
        if file.name in files:
            raise CheckpointError(f"two task files for {file.name!r}; give one")
        files[file.name] = file
    return files


def _chosen(catalog: Catalog, names: Sequence[str] | None) -> dict[str, Task]:
    if names is None:
        return dict(catalog.tasks)
    if isinstance(names, str):
        raise InputError(f"tasks must be a list of names; for one task write [{shown(repr(names), 40)}]")
    return {name: catalog.task(name) for name in names}


def _template(checkpoint: Checkpoint) -> Template:
    name = checkpoint.manifest.template
    if name not in TEMPLATES:
        raise CheckpointError(
            f"the checkpoint wants the prompt template {shown(repr(name), 40)}; known: {', '.join(TEMPLATES)}"
        )
    return TEMPLATES[name]


def _fill_tasks(
    network: Network, table: TaskTable, tasks: dict[str, Task], files: dict[str, TaskFile], faults: dict[str, str]
) -> dict[str, str]:
    """Weights into every task that has some; what others lack, by name. Untrained ones start the same everywhere."""
    lacking: dict[str, str] = {}
    start_tasks(network, tasks, list(tasks))
    for name in tasks:
        if name not in files:
            lacking[name] = faults.get(name, f"task {name!r} is untrained: the checkpoint has no weights for it")
            continue
        try:
            fill_task(network, files[name])
        except ChiasmError as error:
            lacking[name] = f"task {name!r} is untrained: {error}"
    return lacking


def _left_out(checkpoint: Checkpoint, chosen: dict[str, Task]) -> tuple[Notice, ...]:
    absent = [entry.name for entry in checkpoint.manifest.tasks if entry.name not in chosen]
    return tuple(Notice(text=f"task {name!r} of this checkpoint is not loaded", task=name) for name in absent)
