"""A task and its plugin in plain values: what `chiasm plugins show` prints and what travels out of a child process."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel, PydanticUserError

from .discovery import PluginInfo
from .errors import shown
from .task import Task

MOST_FILES = 500


def describe_task(task: Task) -> dict[str, Any]:
    """The declaration as JSON can hold it, with the schemas of its output and its options."""
    spec = task.spec
    plain = spec.model_dump(mode="json", exclude={"output", "options"})
    return {**plain, "output": _schema(spec.output, "serialization"), "options": _schema(spec.options, "validation")}


def _schema(model: type[BaseModel], mode: Any) -> Mapping[str, Any]:
    try:
        return model.model_json_schema(mode=mode)
    except PydanticUserError:  # a field that JSON has no word for, as a function
        return {"title": model.__name__, "properties": {name: {} for name in model.model_fields}}


@dataclass(frozen=True)
class About:
    """Who made a plugin, and what its files are; read without importing it."""

    author: str
    licence: str
    homepage: str
    requires: tuple[str, ...]
    files: Mapping[str, str]  # path in the package -> sha256


def about(info: PluginInfo) -> About:
    """The metadata of the plugin's distribution, and a sum of every file of its package."""
    found = _distribution(info.distribution)
    metadata: Any = found.metadata if found is not None else {}
    lines = [(key, str(value)) for key, value in metadata.items()]
    meta = dict(reversed(lines))  # of a key with several lines the first
    licences = [value.rpartition(":: ")[2] for key, value in lines if key == "Classifier" and "License ::" in value]
    return About(
        author=shown(meta.get("Author") or meta.get("Author-email") or ""),
        licence=shown(meta.get("License-Expression") or meta.get("License") or ", ".join(licences)),
        homepage=shown(meta.get("Home-page") or meta.get("Project-URL", "").rpartition(", ")[2]),
        requires=tuple(shown(text) for text in (found.requires if found else None) or ()),
        files={name: _sum(path) for name, path in _files(info)},
    )


def _distribution(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except (PackageNotFoundError, ValueError):
        return None


def _files(info: PluginInfo) -> list[tuple[str, Path]]:
    if info.path:
        return [(Path(info.path).name, Path(info.path))]
    home = _home(info.module)
    if home is None:
        return []
    found = [home] if home.is_file() else sorted(p for p in home.rglob("*") if p.is_file() and p.suffix != ".pyc")
    return [(path.relative_to(home.parent).as_posix(), path) for path in found[:MOST_FILES]]


def _home(module: str) -> Path | None:
    """The folder or file of a module, found without importing anything."""
    top, _, rest = module.partition(".")
    try:
        spec = find_spec(top) if top else None
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    origin = Path(spec.origin)
    home = origin.parent if origin.name == "__init__.py" else origin
    inner = home.joinpath(*rest.split(".")) if rest else home
    return next((path for path in (inner, inner.with_suffix(".py"), home) if path.exists()), None)


def _sum(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "cannot be read"
