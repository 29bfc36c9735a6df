"""What the builder hands to the loop, and how its model is saved."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

from torch import nn
from torch.utils.data import Dataset

from .ema import Ema
from .folders import replace_folder

MODEL = "model"  # the folder of a run that holds its model


class Build(Protocol):
    """What the builder makes of a config.

    It may have `identity`, a mapping of what else a resumed run must share, and `file`, the name of the one file that
    `save` writes in place of a model's folder.
    """

    @property
    def module(self) -> nn.Module:
        """`forward(**batch) -> {"loss": scalar, "loss/<task>/<name>": scalar, ...}`."""

    @property
    def dataset(self) -> Dataset[Any]:
        """Item i for any i >= 0, the same whenever it is asked for; raises BadSample for one that is not usable."""

    @property
    def collate(self) -> Callable[[list[Any]], dict[str, Any]]:
        """A batch of items; its `ids` name the samples and are handed on only if forward takes them."""

    def save(self, module: nn.Module, path: Path) -> None:
        """Write the model's folder, or the file, from the module's present weights."""


def save_model(build: Build, ema: Ema | None, out: Path) -> None:
    """Put what is saved, with averaged weights if there are any, in the place of the last one in the run's folder."""

    def fill(path: Path) -> None:
        with ema.in_place() if ema is not None else nullcontext():
            build.save(build.module, path)

    where = saved_at(build, out)
    if where.name == MODEL:
        replace_folder(where, fill)
    else:
        fill(where)  # a file is written whole or not at all


def saved_at(build: Build, out: Path) -> Path:
    """Where a run in the folder `out` leaves what it made."""
    return out / (getattr(build, "file", None) or MODEL)


def takes_ids(module: nn.Module) -> bool:
    """Whether the module's forward wants to know the samples' ids."""
    parameters = inspect.signature(module.forward).parameters.values()
    return any(one.name == "ids" or one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)
