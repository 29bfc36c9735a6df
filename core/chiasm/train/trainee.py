"""The network in training: made anew or from a folder, started from published weights, saved as a chiasm folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, cast

import torch
from chiasm_registry import Task, TaskSpec, TaskTable, TrainingError
from chiasm_registry.discovery import discover
from pydantic import Field
from torch import Tensor, nn

from ..assemble import assemble, markers_of
from ..checkpoint import Checkpoint, Manifest, write_again
from ..checkpoint.joining import SHARD_BYTES
from ..checkpoint.manifest import task_file_name
from ..checkpoint.taskfile import write_task_file
from ..models import model_folder, names
from ..routing.network import Network
from ..text import Tokenizer, train_tokenizer
from ..text.templates import find_template
from ..weights import core_tensors, fill_core, fill_task, start_tasks, task_file
from .alone import adapt, hold_still, neighbours, of_whom, start_like_another
from .bases import read_base
from .config import Section, TrainConfig
from .data import Record
from .induction import seed_induction
from .initial import frozen_trunk, read_initial, start_seeing, start_trunk
from .items import blamed_on
from .optimizer import rate_factor
from .requests import ECHOES
from .step import Pictures, Step
from .texts import language_texts

_INIT_SEED = 0
FIND = "Find what is named."


class ModelConfig(Section):
    """What is trained: a new model (`internvl`, in transformers' terms), or the one in the folder `base`."""

    base: str | tuple[str, ...] | None = None  # several: their mean
    internvl: dict[str, Any] = Field(default_factory=dict)
    trunk: bool = True
    max_tiles: int = Field(1, ge=1, le=12)
    vocabulary: int = Field(3072, ge=512)
    template: str | None = None  # None: the base's, or nano's for a new model
    instruction: str | None = None  # of guided calls; None: the base's, or FIND
    openings: dict[str, float] | None = None  # by how much they must lead, see `Manifest`; None: the base's
    # names of the initial head's classes, in its order: the trunk starts by saying what it recognises
    tags: tuple[Annotated[str, Field(pattern=r"\S")], ...] = ()
    induction: bool = False  # a new language model starts with circuits that copy; see `seed_induction`
    dropout: float = Field(0.1, ge=0, lt=1)
    text_weight: float = Field(1.0, ge=0)
    lora: int = Field(0, ge=0, le=256)  # rank of adapters in the language model, for a task that is trained alone


@dataclass
class Trainee:
    """A network in training with what its checkpoint says beside the weights."""

    step: Step
    tokenizer: Tokenizer
    tasks: dict[str, Task]
    beside: Checkpoint  # all that a folder has but what this run holds in its network
    trained: frozenset[str]  # tasks that learn anything; the others only keep their place
    homes: Mapping[str, str]  # task -> the distribution that brings it
    known: tuple[TaskSpec, ...]  # all that may be asked for, trained or not
    alone: str | None = None

    @property
    def file(self) -> str | None:
        """What `save` writes where one task is trained alone; None for a whole folder."""
        return task_file_name(self.alone) if self.alone else None

    def save(self, module: nn.Module, path: Path) -> None:
        """Write the chiasm folder, or the file of the one task that is trained alone, in bfloat16."""
        network = cast(Step, module).network
        places = self._places()
        files = {
            name: task_file(network, name, task.spec.token, places[name], self.homes[name], torch.bfloat16)
            for name, task in self.tasks.items()
        }
        if self.alone:
            write_task_file(path, replace(files[self.alone], core=self.beside.manifest.core_id))
        else:
            tasks = {**files, **self.beside.tasks}
            whole = replace(self.beside, core=core_tensors(network, torch.bfloat16), tasks=tasks)
            write_again(path, whole, max_shard_bytes=SHARD_BYTES)

    def _places(self) -> dict[str, int]:
        """The tasks' places in the table: those of the base stay, new ones come behind them."""
        places = {entry.name: entry.order for entry in self.beside.manifest.tasks}
        for name in self.tasks:
            places.setdefault(name, max(places.values(), default=-1) + 1)
        return places


def make_trainee(
    model: ModelConfig,
    config: TrainConfig,
    records: Sequence[Record],
    pictures: Pictures,
    report: Callable[[str], None],
) -> Trainee:
    """The network that the config describes, with the step that trains it."""
    catalog = discover()
    tasks = {name: catalog.task(name) for name in sorted(config.tasks)}
    base: Checkpoint | None = None if model.base is None else read_base(_folders(model.base))
    if model.lora and not config.alone:
        raise TrainingError("config: key model.lora is for a task that is trained alone, with --task NAME")
    known = [catalog.task(name).spec for name in catalog.tasks]
    tokenizer = Tokenizer.from_json(base.tokenizer_json) if base else _tokenizer(model, records, known, report)
    stored = [entry.token for entry in base.manifest.tasks] if base and config.alone else []
    tokenizer = tokenizer.with_tasks(dict.fromkeys([*stored, *(task.spec.token for task in tasks.values())]))
    core = dict(base.config) if base else _core_config(model, tokenizer)
    with torch.random.fork_rng(devices=[]):  # weights are drawn on the CPU, whatever they are trained on
        torch.default_generator.manual_seed(_INIT_SEED)
        places = base.manifest.tasks if base and config.alone else ()
        network = assemble(core, TaskTable.build(list(tasks.values()), places), tasks)
    initial = read_initial(config.initial)
    reference = _start(network, model, config, initial, base)
    if model.tags:
        start_seeing(network, tokenizer, model.tags, initial)
    beside = _beside(model, core, tokenizer, base, tasks)
    markers = markers_of(tokenizer, find_template(beside.manifest.template))
    weights = {"dropout": model.dropout, "text_weight": model.text_weight}
    step = Step(network, markers, pictures, reference=reference, alone=config.alone, **weights)
    report(f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f} M parameters, {tokenizer.size} tokens")
    specs = [task.spec for task in tasks.values()]
    if config.alone and base:
        hold_still(network, base, config.alone)
        known = neighbours(catalog, base, config.alone)
        start_like_another(network, base, specs[0], known)
        adapt(network, config.alone, model.lora)
        specs += known
    trained = learning(network, tasks, config.optimizer.groups)
    homes = {name: of_whom(catalog, name) for name in tasks}
    return Trainee(step, tokenizer, tasks, beside, trained, homes, tuple(specs), config.alone)


def _beside(
    model: ModelConfig, core: dict[str, Any], tokenizer: Tokenizer, base: Checkpoint | None, tasks: Iterable[str]
) -> Checkpoint:
    """What a saved folder has beside the network: of a base all but its core and the `tasks` of the run."""
    said: dict[str, Any] = {
        "template": model.template or (base.manifest.template if base else "nano"),
        "guided_instruction": model.instruction or (base.manifest.guided_instruction if base else FIND),
        "openings": model.openings if model.openings is not None else base.manifest.openings if base else {},
        "echoes": ECHOES,  # the run teaches them, whatever its base said
    }
    if base is None:
        return Checkpoint(Manifest(design=core["design"], files={}, **said), core, tokenizer.json(), {}, {})
    left = {name: file for name, file in base.tasks.items() if name not in tasks}
    manifest = base.manifest.model_copy(update=said)
    return replace(base, manifest=manifest, tokenizer_json=tokenizer.json(), core={}, tasks=left)


def _folders(base: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """The folders of a base: an embedded model may be meant by its name."""
    return str(model_folder(base)) if isinstance(base, str) and base in names() else base


def _start(
    network: Network,
    model: ModelConfig,
    config: TrainConfig,
    initial: Mapping[str, Tensor],
    base: Checkpoint | None,
) -> nn.Module | None:
    """Give a fresh network the values training starts from; the frozen initial trunk, if there are initial weights."""
    internvl: Any = network.backbone_module.internvl
    patches = internvl.model.vision_tower.embeddings.patch_embeddings
    if model.induction and base is None:
        seed_induction(internvl.model.language_model)
    whole = bool(initial) and not config.alone
    if whole:
        start_trunk(patches, initial)
    reference = frozen_trunk(patches) if whole else None
    start_tasks(network, list(config.tasks))
    for name in sorted(config.tasks):
        _prepare(network.decoders[name], name, config.tasks[name], initial)
    if base is not None:
        fill_core(network, base.core)
        for name in config.tasks.keys() & base.tasks.keys():
            if base.tasks[name].lora and not config.alone:
                raise TrainingError(f"task {name!r} has adapters in the language model; train it alone, with --task")
            fill_task(network, base.tasks[name])
    return reference


def _prepare(decoder: nn.Module, name: str, options: Mapping[str, Any], initial: Mapping[str, Tensor]) -> None:
    """Let a decoder get ready for training; it needs a loss, and options only if it reads them."""
    if not callable(getattr(decoder, "loss", None)):
        raise TrainingError(f"task {name!r} cannot be trained: its decoder has no loss()")
    prepare = getattr(decoder, "prepare", None)
    if prepare is not None:
        with blamed_on(name, "prepare"):
            prepare(options, initial)
    elif options:
        raise TrainingError(f"config: key tasks.{name} has options, its decoder has no prepare() that reads them")


def learning(network: Network, names: Iterable[str], groups: Mapping[str, float]) -> frozenset[str]:
    """The tasks whose losses anything that the config leaves free can follow: language, their rows, their decoders."""
    language = [f"backbone_module.{name}" for name, _ in network.backbone_module.named_parameters()]
    if any(rate_factor(f"network.{name}", groups) for name in language):
        return frozenset(names)
    own = {name: (network.decoders[name], network.rows.row(name)) for name in names}
    free = {id(p) for name, p in network.named_parameters() if rate_factor(f"network.{name}", groups)}
    return frozenset(n for n, parts in own.items() if any(id(p) in free for part in parts for p in part.parameters()))


def _core_config(model: ModelConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    if (
        not {"vision_config", "text_config"} <= model.internvl.keys()
    ):  # transformers' own sizes are of a thousand million
        raise TrainingError("config: key model.internvl needs vision_config and text_config, or model.base a folder")
    internvl = {**model.internvl, "image_token_id": tokenizer.id_of("<IMG_CONTEXT>")}
    internvl["text_config"] = {**internvl["text_config"], "vocab_size": tokenizer.size}
    return {"design": "internvl", "internvl": internvl, "trunk": model.trunk, "max_tiles": model.max_tiles}


def _tokenizer(
    model: ModelConfig, records: Sequence[Record], tasks: Sequence[TaskSpec], report: Callable[[str], None]
) -> Tokenizer:
    captions = (caption for record in records for caption in record.captions)
    tokenizer = train_tokenizer(chain(language_texts(tasks=tasks), captions), model.vocabulary)
    report(f"a tokenizer of {tokenizer.size} tokens, made from the captions and the phrasings")
    return tokenizer
