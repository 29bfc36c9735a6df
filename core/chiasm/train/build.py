"""From a config to what the loop runs: network, photographs, composer of requests, items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import torch
from chiasm_registry import Task, TaskTable, TrainingError
from chiasm_registry.discovery import discover
from chiasm_registry.errors import shown
from pydantic import Field, TypeAdapter, ValidationError
from torch import nn
from torch.utils.data import Dataset

from ..assemble import assemble, markers_of
from ..checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from ..text import Tokenizer, train_tokenizer
from ..text.templates import find_template
from ..weights import core_tensors, fill_core, fill_task, start_tasks, task_file
from .config import Section, TrainConfig
from .cutouts import CutoutBank, cut_out
from .data import Record, read_records
from .induction import seed_induction
from .initial import frozen_trunk, name_vectors, quieten, read_initial, start_tags, start_trunk
from .items import Item, Items, Writer, collate
from .photos import PhotoStore
from .requests import Composer, Mix, language_texts
from .scenes import Settings
from .step import Pictures, Step

T = TypeVar("T")
_INIT_SEED = 0
_SHARD_BYTES = 12 * 2**20  # files that a repository and a slow line can take
_NEVER_ENDING = 2**40  # items are drawn, not counted


class ModelConfig(Section):
    """What is trained: a new model (`internvl`, in transformers' terms), or the one in the folder `base`."""

    base: str | None = None
    internvl: dict[str, Any] = Field(default_factory=dict)
    trunk: bool = True
    max_tiles: int = Field(1, ge=1, le=12)
    vocabulary: int = Field(3072, ge=512)
    template: str = "nano"
    instruction: str = "Find what is named."
    # names of the initial head's classes, in its order: the trunk starts by saying what it recognises
    tags: tuple[Annotated[str, Field(pattern=r"\S")], ...] = ()
    induction: bool = False  # a new language model starts with circuits that copy; see `seed_induction`
    dropout: float = Field(0.1, ge=0, lt=1)
    text_weight: float = Field(1.0, ge=0)


class MixtureConfig(Section):
    """How views and requests are mixed; `views` are fields of `Settings`, `requests` of `Mix`."""

    views: dict[str, Any] = Field(default_factory=dict)
    requests: dict[str, Any] = Field(default_factory=dict)
    branches: int = Field(14, ge=1)  # guided phrases an image
    conversations: int = Field(6, ge=0)  # free requests an image
    pictures: bool = True  # False: words alone, without images and tasks, to learn to speak and to copy first
    cutouts_per_name: int = Field(120, ge=0)
    store_gib: float = Field(8.0, ge=0)


@dataclass
class Build:
    """What the loop needs."""

    module: nn.Module
    dataset: Dataset[Item]
    collate: Callable[[Sequence[Item]], dict[str, Any]]
    save: Callable[[nn.Module, Path], None]


def build(config: TrainConfig, report: Callable[[str], None] = lambda line: None) -> Build:
    """Read data and initial weights, make the network; every step of it is reported."""
    model = _read(ModelConfig, config.model, "model")
    mixture = _read(MixtureConfig, config.mixture, "mixture")
    settings = _read(Settings, mixture.views, "mixture.views")
    mix = _read(Mix, mixture.requests, "mixture.requests")
    records = _records(config, report)
    limit = mixture.store_gib if mixture.pictures else 0.0
    store = PhotoStore(records, size=settings.source, limit_gib=limit, report=report)
    wanted = mixture.cutouts_per_name if mixture.pictures else 0
    bank = cut_out(records, per_name=wanted, seed=config.run.seed, report=report)
    pictures = Pictures(store, None if bank is None else bank.pixels)
    trainee = _trainee(model, config, records, pictures, report)
    names = sorted({thing.name for record in records for thing in record.objects})
    composer = Composer(names, records, mix, mixture.branches)
    writer = Writer(
        trainee.tokenizer,
        find_template(model.template),
        trainee.step.network.rows,
        trainee.step.markers,
        (trainee.step.network.backbone.tokens_per_tile,) if mixture.pictures else (),
        model.instruction,
    )
    return Build(
        module=trainee.step,
        dataset=_items(config, mixture, records, composer, writer, trainee.tasks, settings, bank),
        collate=partial(collate, pad=trainee.step.markers.end, source=settings.source),
        save=trainee.save,
    )


@dataclass
class _Trainee:
    """A network in training with what its checkpoint says beside the weights."""

    step: Step
    tokenizer: Tokenizer
    tasks: dict[str, Task]
    model: ModelConfig
    core: dict[str, Any]

    def save(self, module: nn.Module, folder: Path) -> None:
        """Write the chiasm folder in bfloat16."""
        network = cast(Step, module).network
        files = [
            task_file(network, name, task.spec.token, order, "chiasm", torch.bfloat16)
            for order, (name, task) in enumerate(self.tasks.items())
        ]
        write_checkpoint(
            folder,
            design=self.core["design"],
            config=self.core,
            tokenizer_json=self.tokenizer.json(),
            template=self.model.template,
            guided_instruction=self.model.instruction,
            core=core_tensors(network, torch.bfloat16),
            tasks=files,
            max_shard_bytes=_SHARD_BYTES,
        )


def _trainee(
    model: ModelConfig,
    config: TrainConfig,
    records: Sequence[Record],
    pictures: Pictures,
    report: Callable[[str], None],
) -> _Trainee:
    catalog = discover()
    tasks = {name: catalog.task(name) for name in sorted(config.tasks)}
    base: Checkpoint | None = None if model.base is None else read_checkpoint(model.base)
    tokenizer = Tokenizer.from_json(base.tokenizer_json) if base else _tokenizer(model, records, report)
    tokenizer = tokenizer.with_tasks(task.spec.token for task in tasks.values())
    core = dict(base.config) if base else _core_config(model, tokenizer)
    table = TaskTable.build(list(tasks.values()))
    with torch.random.fork_rng():
        torch.manual_seed(_INIT_SEED)
        network = assemble(core, table, tasks)
    if model.induction and base is None:
        seed_induction(network.backbone_module.internvl.model.language_model)  # type: ignore[union-attr]
    initial = read_initial(config.initial)
    patches: Any = network.backbone_module.internvl.model.vision_tower.embeddings.patch_embeddings  # type: ignore[union-attr]
    if initial:
        start_trunk(patches, initial)
    reference = frozen_trunk(patches) if initial else None
    start_tasks(network, list(tasks))
    for name in tasks:
        network.decoders[name].prepare(config.tasks[name], initial)  # type: ignore[operator]
    if base is not None:
        fill_core(network, base.core)
        for name in tasks.keys() & base.tasks.keys():
            fill_task(network, base.tasks[name])
    if model.tags:
        spelled = [tokenizer.encode_user(name) for name in model.tags]
        embedding, space = network.backbone.matrices()[0], tokenizer.encode_user(" ")[0]
        start_tags(patches, initial, name_vectors(embedding, spelled, space))
        internvl: Any = network.backbone_module.internvl
        quieten(internvl.model.multi_modal_projector, embedding[tokenizer.id_of("<IMG_CONTEXT>")])
    markers = markers_of(tokenizer, find_template(model.template))
    step = Step(
        network,
        markers,
        pictures,
        dropout=model.dropout,
        text_weight=model.text_weight,
        reference=reference,
    )
    report(f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f} M parameters, {tokenizer.size} tokens")
    return _Trainee(step, tokenizer, tasks, model, core)


def _read(kind: type[T], values: Mapping[str, Any], where: str) -> T:
    """A part of the config as its dataclass or model; the first key that does not fit is named."""
    known = [field.name for field in fields(kind)] if is_dataclass(kind) else list(kind.model_fields)  # type: ignore[attr-defined]
    if unknown := [key for key in values if key not in known]:
        raise TrainingError(f"config: key {where}.{shown(unknown[0], 40)} is unknown; there are {shown(known, 100)}")
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        key = ".".join([where, *map(str, first["loc"])])
        value = shown(repr(first["input"]), 40)
        raise TrainingError(f"config: key {shown(key, 60)} is {value}; {shown(first['msg'], 80)}") from error


def _core_config(model: ModelConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    if (
        not {"vision_config", "text_config"} <= model.internvl.keys()
    ):  # transformers' own sizes are of a thousand million
        raise TrainingError("config: key model.internvl needs vision_config and text_config, or model.base a folder")
    internvl = {**model.internvl, "image_token_id": tokenizer.id_of("<IMG_CONTEXT>")}
    internvl["text_config"] = {**internvl["text_config"], "vocab_size": tokenizer.size}
    return {"design": "internvl", "internvl": internvl, "trunk": model.trunk, "max_tiles": model.max_tiles}


def _tokenizer(model: ModelConfig, records: Sequence[Record], report: Callable[[str], None]) -> Tokenizer:
    captions = (caption for record in records for caption in record.captions)
    tokenizer = train_tokenizer(chain(language_texts(), captions), model.vocabulary)
    report(f"a tokenizer of {tokenizer.size} tokens, made from the captions and the phrasings")
    return tokenizer


def _records(config: TrainConfig, report: Callable[[str], None]) -> list[Record]:
    records: list[Record] = []
    for part in config.data:
        found = read_records(
            part.annotations,
            part.images,
            captions=part.captions,
            extra_masks=part.masks,
            on_bad=config.run.on_bad_sample,
            report=report,
        )
        records += found * max(1, round(part.weight))
    return records


def _items(
    config: TrainConfig,
    mixture: MixtureConfig,
    records: Sequence[Record],
    composer: Composer,
    writer: Writer,
    tasks: dict[str, Task],
    settings: Settings,
    bank: CutoutBank | None,
) -> Items:
    return Items(
        records,
        composer,
        writer,
        tasks,
        settings,
        None if bank is None else bank.index,
        seed=config.run.seed,
        length=_NEVER_ENDING,
        kinds=(*(["guided"] if mixture.pictures else []), *([None] * mixture.conversations)),
    )
