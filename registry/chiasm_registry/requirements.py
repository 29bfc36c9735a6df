"""What a distribution asks for and brings along, held against what is installed; nothing is imported or installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, version
from typing import Literal

from .errors import shown
from .hooks import PROJECT

Grievance = tuple[Literal["failed", "missing", "incompatible"], str]

# modules that a plugin's wheel must not bring: it would stand in the way of ours, or of what we stand on
OURS = (PROJECT, f"{PROJECT}_registry", f"{PROJECT}_plugins")
GROUND = ("torch", "numpy", "transformers", "tokenizers", "safetensors", "pydantic", "pluggy", "PIL", "typer", "yaml")


def grievance(distribution: Distribution, *, own: bool = False) -> Grievance | None:
    """The first reason why a plugin of this distribution cannot be loaded, or None; `own` is for the platform's."""
    return next(_grievances(distribution, own), None)


def _grievances(distribution: Distribution, own: bool) -> Iterator[Grievance]:
    if not own:
        yield from _shadows(distribution)
    for text in distribution.requires or ():
        yield from _unmet(text)


def _unmet(text: str) -> Iterator[Grievance]:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(text)
    except InvalidRequirement:
        yield "failed", f"its requirement {shown(repr(text), 60)} cannot be read; ask its author"
        return
    if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
        return
    asked = shown(f"{wanted.name}{wanted.specifier}", 60)
    try:
        here = version(wanted.name)
    except PackageNotFoundError:
        yield "missing", f"it needs {asked}, which is not installed; pip install '{asked}'"
        return
    if not wanted.specifier.contains(here, prereleases=True):
        yield "incompatible", f"it needs {asked}, and {shown(here, 20)} is installed; pip install '{asked}', if you can"


def _shadows(distribution: Distribution) -> Iterator[Grievance]:
    """Modules that are not the plugin's to bring, and code that would run at every start of Python."""
    names = [file.parts[0] for file in distribution.files or () if file.parts]
    tops = {name.removesuffix(".py") for name in names if name.endswith(".py") or "." not in name}
    for name in sorted(tops & {*sys.stdlib_module_names, *OURS, *GROUND}):
        yield "failed", f"it brings a module {name!r}, which stands in the way of the real one; uninstall it"
    if any(name.endswith(".pth") for name in names) and not _is_editable(distribution):
        yield "failed", "it brings a .pth file, which may run code whenever Python starts; uninstall it"


def _is_editable(distribution: Distribution) -> bool:
    try:
        said = json.loads(distribution.read_text("direct_url.json") or "{}")
        return bool(said.get("dir_info", {}).get("editable"))
    except (ValueError, AttributeError, OSError):
        return False
