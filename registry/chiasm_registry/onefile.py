"""A plugin in one file, named by its path: no distribution, no installation."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from .entrypoints import Claim
from .errors import PluginError, shown, shown_path

PREFIX = "chiasm_file_"


def file_claim(path: str) -> Claim:
    """What a path claims: a plugin called after the file."""
    file = Path(path)
    name, fault, status = shown(file.stem, 40), "", "failed"
    if file.suffix != ".py" or not file.stem.isidentifier():
        fault = f"'{shown_path(path, 60)}' is no name of a Python file; write one like my_task.py"
    elif not file.is_file():
        fault, status = f"there is no file '{shown_path(path, 60)}'", "missing"
    return Claim(name, PREFIX + file.stem, "", shown_path(path), "", fault, status, path=str(file.absolute()))


def import_file(path: str, module: str) -> object:
    """The module of a file, run anew; on a fault nothing of it stays."""
    spec = spec_from_file_location(module, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"'{shown_path(path, 60)}' cannot be imported; is it Python?")
    made = module_from_spec(spec)
    before = sys.modules.get(module)
    sys.modules[module] = made
    try:
        spec.loader.exec_module(made)
    except BaseException:
        if before is None:
            del sys.modules[module]
        else:
            sys.modules[module] = before
        raise
    return made
