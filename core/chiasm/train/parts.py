"""What the builder hands to the loop, and how its model is saved."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from torch import nn
from torch.utils.data import Dataset

from .ema import Ema
from .folders import replace_folder


class Build(Protocol):
    """What the builder makes of a config; it may have `identity`, a mapping of what else a resumed run must share."""

    @property
    def module(self) -> nn.Module:
        """`forward(**batch) -> {"loss": scalar, "loss/<task>/<name>": scalar, ...}`."""

    @property
    def dataset(self) -> Dataset[Any]:
        """Item i for any i >= 0, the same whenever it is asked for; raises BadSample for one that is not usable."""

    @property
    def collate(self) -> Callable[[list[Any]], dict[str, Any]]:
        """A batch of items; its `ids` name the samples and are handed on only if forward takes them."""

    def save(self, module: nn.Module, folder: Path) -> None:
        """Write the model's folder from the module's present weights."""


def save_model(build: Build, ema: Ema | None, folder: Path) -> None:
    """Put the model's folder, with averaged weights if there are any, in the place of the last one."""

    def fill(partial: Path) -> None:
        if ema is None:
            build.save(build.module, partial)
        else:
            with ema.in_place():
                build.save(build.module, partial)

    replace_folder(folder, fill)


def takes_ids(module: nn.Module) -> bool:
    """Whether the module's forward wants to know the samples' ids."""
    parameters = inspect.signature(module.forward).parameters.values()
    return any(one.name == "ids" or one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)
