"""Foreign `.pth` files as tensors: opened by torch's weights-only reader in a process of their own, with a time limit.

Nothing in the file is executed, and a reader that crashes or hangs does so where it harms nobody.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from chiasm_registry.errors import CheckpointError, shown, shown_path

from ..limits import LIMITS, Limits
from .files import read_file
from .tensors import read_tensors

if TYPE_CHECKING:
    from torch import Tensor

_WRAPPERS = ("model", "state_dict")  # keys under which some training programs keep the weights
_RUN = "import sys; sys.path[:] = sys.argv[1].split(sys.argv[2]); from chiasm.checkpoint.pickles import main; main()"
_FAULTS = {
    "code": "holds more than tensors; such a file may run code, so it was not opened further and nothing was executed",
    "broken": "is cut off or not what torch.save writes; download it again",
    "foreign": "holds no table from names to tensors",
}


def read_pth(path: str | os.PathLike[str], limits: Limits = LIMITS) -> dict[str, Tensor]:
    """The tensors of a file that `torch.save` wrote; a `CheckpointError` in one line if it is anything else."""
    where = f"'{shown_path(path)}'"
    if not Path(path).is_file():
        raise CheckpointError(f"{where} is no file")
    with TemporaryDirectory() as folder:
        out = Path(folder) / "tensors.safetensors"
        fault = _in_child([str(Path(path).resolve()), str(out)], limits.convert_s, where)
        if fault is not None:
            raise CheckpointError(f"{where} {_FAULTS.get(fault, 'cannot be read')}")
        return dict(read_tensors(read_file(out, where), where)[0])


def _in_child(arguments: list[str], time_limit_s: float, where: str) -> str | None:
    """What was wrong, as a key of `_FAULTS`, or None."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    command = [sys.executable, "-I", "-c", _RUN, path, os.pathsep, *arguments]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=time_limit_s, check=False)
    except subprocess.TimeoutExpired:
        raise CheckpointError(f"{where} was not read within {time_limit_s:g} s, and the reader was stopped") from None
    if child.returncode != 0:
        raise CheckpointError(f"reading {where} ended its own process (status {child.returncode}); nothing was taken")
    answer: dict[str, str | None] = json.loads(child.stdout.splitlines()[-1])
    return answer["fault"]


def main() -> None:
    """In the child: read one file, write the other, say on stdout what was wrong."""
    source, target = sys.argv[3:5]
    json.dump({"fault": _rewritten(source, target)}, sys.stdout)


def _rewritten(source: str, target: str) -> str | None:
    import pickle
    import warnings

    import torch
    from safetensors.torch import save_file

    warnings.simplefilter("ignore")
    try:
        found = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        return "code" if _is_whole(source) else "broken"
    except Exception:  # each kind of damage has its own class
        return "broken"
    for wrapper in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    fits = isinstance(found, Mapping) and found and all(isinstance(k, str) for k in found)
    if not fits or not all(isinstance(value, torch.Tensor) for value in found.values()):
        return "foreign"
    save_file({name: tensor.detach().clone().contiguous() for name, tensor in found.items()}, target)
    return None


def _is_whole(source: str) -> bool:
    """Whether the file ends as its kind ends: a zip archive with its directory, a bare pickle with its stop mark."""
    import zipfile

    with open(source, "rb") as file:
        head = file.read(2)
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
    return zipfile.is_zipfile(source) if head == b"PK" else last == b"."


def said(names: Mapping[str, object], wanted: tuple[str, ...], what: str, where: str) -> None:
    """Refuse tensors of another model: each of the prefixes in `wanted` must be there, and no other."""
    for name in names:
        if not name.startswith(wanted):
            raise CheckpointError(f"{where} is no checkpoint of {what}: it holds '{shown(name, 60)}'")
    for prefix in wanted:
        if not any(name.startswith(prefix) for name in names):
            raise CheckpointError(f"{where} is no checkpoint of {what}: it holds no '{prefix}*'")
