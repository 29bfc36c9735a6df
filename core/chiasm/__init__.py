"""chiasm: one vision-language model says what it sees, and plugins show it.

Importing this loads neither torch nor numpy nor any plugin; each name below is fetched when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chiasm_registry.errors import CheckpointError, ChiasmError, InputError, PluginError, TrainingError
    from chiasm_registry.outputs import UnknownOutput

    from .limits import LIMITS, Limits
    from .loading import load
    from .model import Model
    from .result import Object, Result
    from .session import Session
    from .speech import Stream

    __version__: str

_HOMES = {
    "load": "chiasm.loading",
    "Model": "chiasm.model",
    "Result": "chiasm.result",
    "Object": "chiasm.result",
    "Session": "chiasm.session",
    "Stream": "chiasm.speech",
    "UnknownOutput": "chiasm_registry.outputs",
    "LIMITS": "chiasm.limits",
    "Limits": "chiasm.limits",
    "ChiasmError": "chiasm_registry.errors",
    "InputError": "chiasm_registry.errors",
    "CheckpointError": "chiasm_registry.errors",
    "PluginError": "chiasm_registry.errors",
    "TrainingError": "chiasm_registry.errors",
}
_SUBMODULES = ("backbone", "checkpoint", "evaluate", "images", "text", "train")

__all__ = [
    "LIMITS",
    "CheckpointError",
    "ChiasmError",
    "InputError",
    "Limits",
    "Model",
    "Object",
    "PluginError",
    "Result",
    "Session",
    "Stream",
    "TrainingError",
    "UnknownOutput",
    "__version__",
    "load",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("chiasm")
    elif name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    elif name in _SUBMODULES:
        value = import_module(f"chiasm.{name}")
    else:
        raise AttributeError(f"module 'chiasm' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
