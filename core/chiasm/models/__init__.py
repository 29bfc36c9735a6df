"""The models that come with the package: `NAME/weights` is a checkpoint folder; card, split, configs are beside it."""

from __future__ import annotations

import os
from pathlib import Path

from chiasm_registry.errors import InputError, shown_path

HOME = Path(__file__).parent


def names() -> list[str]:
    """The models whose weights are here."""
    return sorted(path.parent.parent.name for path in HOME.glob("*/weights/chiasm.json"))


def model_folder(name_or_path: str | os.PathLike[str]) -> Path:
    """The checkpoint folder that is meant: an embedded model's by name, or the path as it is; a folder here wins."""
    if isinstance(name_or_path, str) and name_or_path.isidentifier() and not Path(name_or_path).exists():
        if name_or_path not in names():
            known = f"embedded ({', '.join(names())})" if names() else "embedded"
            raise InputError(f"no model {shown_path(name_or_path, 60)}: neither {known} nor a folder here")
        return HOME / name_or_path / "weights"
    try:
        return Path(name_or_path)
    except TypeError:
        raise InputError(f"the model must be a name or a path, not {type(name_or_path).__name__}") from None
