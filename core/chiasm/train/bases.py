"""What a run starts from: one model folder, or the mean of several of one line of training.

Weights that were trained on from one another can be averaged; the mean generalises better than each, as if the rate had
been brought down (Wortsman et al., Model soups, 2022). Folders of different models are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from chiasm_registry import TrainingError
from chiasm_registry.errors import shown_path
from torch import Tensor

from ..checkpoint import Checkpoint, read_checkpoint
from ..checkpoint.taskfile import TaskFile


def read_base(folders: str | Sequence[str]) -> Checkpoint:
    """The checkpoint of one folder, or the mean of several; what not all of them have is the last one's."""
    names = [folders] if isinstance(folders, str) else list(folders)
    if not names:
        raise TrainingError("config: key model.base is an empty list; name a model folder, or leave it out")
    read = [read_checkpoint(name) for name in names]
    last = read[-1]
    for name, other in zip(names, read, strict=True):
        if (other.config, other.tokenizer_json) != (last.config, last.tokenizer_json):
            raise TrainingError(f"model.base: {shown_path(name)} is another model than {shown_path(names[-1])}")
    if len(read) == 1:
        return last
    shared = [name for name in last.tasks if all(name in one.tasks for one in read)]
    tasks = {name: _mean_task([one.tasks[name] for one in read]) for name in shared}
    cores = [{name: tensor.detach() for name, tensor in one.core.items()} for one in read]
    return replace(last, core=_mean(cores), tasks={**last.tasks, **tasks})


def _mean_task(files: Sequence[TaskFile]) -> TaskFile:
    own = _mean([{"input": f.rows_input, "output": f.rows_output, "vectors": f.vectors} for f in files])
    decoder = _mean([file.decoder for file in files])
    return replace(
        files[-1], rows_input=own["input"], rows_output=own["output"], vectors=own["vectors"], decoder=decoder
    )


def _mean(tensors: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The means by name, in the types of the last; whole numbers are the last's."""
    last = tensors[-1]
    if any({n: t.shape for n, t in one.items()} != {n: t.shape for n, t in last.items()} for one in tensors):
        raise TrainingError("model.base: the folders hold tensors of different names or shapes")
    return {
        name: torch.stack([one[name].float() for one in tensors]).mean(0).to(tensor.dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in last.items()
    }
