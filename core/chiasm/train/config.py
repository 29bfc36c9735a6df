"""What a training run is made of, from YAML; a key that is unknown, missing, double or out of range is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from chiasm_registry.errors import TrainingError, shown, shown_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

CONFIG_BYTES = 2**20
BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
FREE_TO_CHANGE = frozenset(  # keys of `run` that a resumed run may have other than the run it goes on from
    {"steps", "save_every", "log_every", "keep", "workers", "prefetch", "device_cache"}
)


Share = Annotated[float, Field(ge=0, lt=1)]
Factor = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    """A part of the config; frozen, and every key is known."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataConfig(Section):
    """One annotated set in COCO form; relative paths start at the folder the command is run in."""

    annotations: Path
    images: Path
    captions: Path | None = None
    masks: Path | None = None
    weight: int = Field(default=1, ge=1)  # how often each of its photographs counts


class OptimizerConfig(Section):
    """AdamW (Loshchilov and Hutter 2019) with linear warm-up; `groups` scales the rate of parameters by name prefix."""

    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    betas: tuple[Share, Share] = (0.9, 0.999)
    eps: float = Field(default=1e-8, gt=0)
    warmup_steps: int = Field(default=100, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    final_lr: float = Field(default=0.0, ge=0, le=1)  # of the cosine's end, as a share of lr
    max_grad_norm: float | None = Field(default=1.0, gt=0)
    groups: dict[str, Factor] = {}  # name prefix -> factor on lr; 0 freezes; the longest prefix that fits counts


class RunConfig(Section):
    """How long, how fast, and what is kept."""

    steps: int = Field(gt=0)
    batch_size: int = Field(gt=0)  # of one process; torchrun's world size multiplies it
    seed: int = Field(default=0, ge=0, lt=2**31)
    precision: Literal["auto", "bf16", "fp32"] = "auto"  # auto: bf16 on a GPU, float32 on a CPU
    ema: float = Field(default=0.999, ge=0, lt=1)  # decay of the averaged weights; 0 saves the weights as they are
    save_every: int = Field(default=500, gt=0)
    log_every: int = Field(default=50, gt=0)
    keep: int = Field(default=2, gt=0)  # complete checkpoints
    workers: int = Field(default=2, ge=0)
    prefetch: int = Field(default=3, gt=0)  # batches a worker
    device_cache: bool = True  # photographs may live on the accelerator
    on_bad_sample: Literal["skip", "stop"] = "skip"
    find_unused_parameters: bool = False  # for torchrun, when a step may leave parameters without a gradient


class TrainConfig(Section):
    """The whole config; `model`, `mixture` and `tasks` are read by the step builder."""

    model: dict[str, Any] = {}
    data: tuple[DataConfig, ...] = ()
    mixture: dict[str, Any] = {}
    tasks: dict[str, dict[str, Any]] = {}
    optimizer: OptimizerConfig = OptimizerConfig()
    run: RunConfig
    initial: str | None = None
    alone: str | None = None  # the one task that learns, beside a core and other tasks that stay as they are

    def fixed(self) -> dict[str, Any]:
        """The part that must be the same when a run goes on from a checkpoint, as JSON values."""
        values: dict[str, Any] = self.model_dump(mode="json")
        values["run"] = {key: value for key, value in values["run"].items() if key not in FREE_TO_CHANGE}
        return values


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """The config of a YAML file with `section.key=value` overrides (values in YAML); TrainingError names a bad key."""
    path = Path(path)
    try:
        if path.stat().st_size > CONFIG_BYTES:
            raise TrainingError(f"config {shown(path.name)} is larger than {CONFIG_BYTES} bytes")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"config {shown_path(path)} cannot be read; give a UTF-8 YAML file") from error
    values = _yaml(text, shown(path.name))
    if not isinstance(values, dict):
        raise TrainingError(f"config {shown(path.name)} is not a mapping of sections")
    for override in overrides:
        _override(values, override)
    return parse_config(values, path.name)


def parse_config(values: Mapping[str, Any], name: str = "config") -> TrainConfig:
    """The config of plain values; TrainingError names the first key that does not fit."""
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise TrainingError(_one_line(error.errors(include_url=False)[0], name)) from error


def _one_line(error: ErrorDetails, name: str) -> str:
    key = shown(".".join(str(part) for part in error["loc"]), 60)
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return f"{shown(name, 40)}: key {key} is missing"
    if kind == "extra_forbidden":
        return f"{shown(name, 40)}: key {key} is unknown; see docs/training.md for the keys"
    if kind == "literal_error":
        wanted = f"one of {context['expected']}"
    elif bounds := [f"{sign} {context[word]}" for word, sign in BOUNDS.items() if word in context]:
        wanted = " and ".join(bounds)
    else:
        wanted = kind.rsplit("_", 1)[0].replace("_", " ")
    return f"{shown(name, 40)}: key {key} is {shown(repr(error['input']), 40)}; it must be {shown(wanted, 50)}"


def _override(values: dict[str, Any], override: str) -> None:
    """Set `a.b.0.c=value` inside `values`; lists are entered by position."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise TrainingError(f"--set {shown(override, 60)}: write it as section.key=value")
    place: Any = values
    *road, last = key.split(".")
    try:
        for part in road:
            place = place[int(part)] if isinstance(place, list) else place.setdefault(part, {})
        place[int(last) if isinstance(place, list) else last] = _yaml(text, f"--set {shown(key, 40)}")
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise TrainingError(f"--set {shown(override, 60)}: there is no such place in the config") from error


def _yaml(text: str, name: str) -> Any:
    """YAML without tags; a key that stands twice is refused, and `1e-3` is a number (YAML 1.2; PyYAML reads 1.1)."""
    import re

    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            for place, key in enumerate(keys):
                if key in keys[:place]:
                    raise TrainingError(f"{name}: key {shown(key, 60)} stands twice")
            return super().construct_mapping(node, deep)

    number = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)[eE][-+]?\d+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789."))
    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise TrainingError(f"{name} is not valid YAML{where}") from error
