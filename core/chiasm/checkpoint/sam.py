"""A published checkpoint of segment-anything as a task file: `chiasm convert sam`."""

from __future__ import annotations

import os
from dataclasses import replace

from chiasm_registry.errors import CheckpointError, shown_path

from .pickles import read_pth, said
from .read import read_checkpoint
from .taskfile import write_task_file

TASK = "segmentation"
PARTS = ("image_encoder.", "prompt_encoder.", "mask_decoder.")
PREFIX = "large."  # under which a decoder of the task looks for a whole SAM


def convert_sam(
    checkpoint: str | os.PathLike[str], out: str | os.PathLike[str], model: str | os.PathLike[str]
) -> int:
    """Write `out`, a task file with the weights of `checkpoint` for the model in the folder `model`; how many tensors.

    The token's rows and the task's embeddings are that model's own: a SAM knows no words.
    """
    tensors = read_pth(checkpoint)
    said(tensors, PARTS, "segment-anything", f"'{shown_path(checkpoint)}'")
    own = read_checkpoint(model).tasks.get(TASK)
    if own is None:
        raise CheckpointError(f"'{shown_path(model)}' has no task {TASK!r} whose token the weights could stand behind")
    write_task_file(out, replace(own, decoder={PREFIX + name: tensor for name, tensor in tensors.items()}))
    return len(tensors)
