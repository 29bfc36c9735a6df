"""From a config to what the loop runs: photographs, composer of requests, items, and the network they train."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from chiasm_registry import Task, TrainingError
from chiasm_registry.errors import shown
from pydantic import Field, TypeAdapter, ValidationError
from torch import nn
from torch.utils.data import Dataset

from ..text.templates import find_template
from .batch import collate
from .config import Section, TrainConfig
from .cutouts import CutoutBank, cut_out
from .data import Record, read_records
from .folders import sha256
from .items import Item, Items, Writer
from .mix import Mix
from .photos import PhotoStore
from .requests import Composer
from .scenes import Settings
from .step import Pictures
from .trainee import ModelConfig, make_trainee

T = TypeVar("T")
_NEVER_ENDING = 2**40  # items are drawn, not counted


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
    file: str | None = None
    identity: Mapping[str, str] = field(default_factory=dict)


def build(config: TrainConfig, report: Callable[[str], None] = lambda line: None) -> Build:
    """Read data and initial weights, make the network; every step of it is reported."""
    model = _read(ModelConfig, config.model, "model")
    mixture = _read(MixtureConfig, config.mixture, "mixture")
    settings = _read(Settings, mixture.views, "mixture.views")
    mix = _read(Mix, mixture.requests, "mixture.requests")
    records = _records(config, report)
    limit = mixture.store_gib if mixture.pictures else 0.0
    on_bad = config.run.on_bad_sample if mixture.pictures else "stop"  # no photograph is asked for
    store = PhotoStore(records, size=settings.source, limit_gib=limit, on_bad=on_bad, report=report)
    records = list(store.records)
    wanted = mixture.cutouts_per_name if mixture.pictures else 0
    bank = cut_out(records, per_name=wanted, seed=config.run.seed, report=report)
    pictures = Pictures(store, None if bank is None else bank.pixels)
    trainee = make_trainee(model, config, records, pictures, report)
    names = sorted({thing.name for record in records for thing in record.objects})
    learning = {name: task for name, task in trainee.tasks.items() if name in trainee.trained}
    composer = Composer(names, records, mix, mixture.branches, trainee.known, trainee.trained)
    manifest = trainee.beside.manifest
    writer = Writer(
        trainee.tokenizer,
        find_template(manifest.template),
        trainee.step.network.rows,
        trainee.step.markers,
        (trainee.step.network.backbone.tokens_per_tile,) if mixture.pictures else (),
        manifest.guided_instruction,
    )
    return Build(
        module=trainee.step,
        dataset=_items(config, mixture, records, composer, writer, learning, settings, bank),
        collate=partial(collate, pad=trainee.step.markers.end, source=settings.source),
        save=trainee.save,
        file=trainee.file,
        identity=_identity(config, trainee.beside.manifest.core_id),
    )


def _identity(config: TrainConfig, base: str) -> dict[str, str]:
    """Hashes of what a run learns from, by the files' names as the config has them, and the core it began with."""
    files = [path for part in config.data for path in (part.annotations, part.captions, part.masks) if path]
    return {"core": base, **{str(path): sha256(path)[:16] for path in files}}


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
        records += found * part.weight
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
