"""`<task>.safetensors`: one task's rows, embeddings and decoder, with a manifest of its own in the header.

It is trained, shipped and left out alone. What does not fit together, or not the core it is meant for, is refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chiasm_registry.errors import CheckpointError, shown, shown_path
from pydantic import ValidationError

from ..files import write_whole
from ..strict_json import parse_object
from .files import read_file
from .manifest import CORE_ID, TaskEntry
from .tensors import read_tensors, tensor_chunks

if TYPE_CHECKING:
    from torch import Tensor

_KEY, _CORE = "chiasm.task", "chiasm.core"
_ROWS_INPUT, _ROWS_OUTPUT, _VECTORS, _DECODER = "rows.input", "rows.output", "embeddings", "decoder."
_ASKING, _LORA = "rows.asking", "lora."


@dataclass(frozen=True, eq=False)
class TaskFile:
    """A task's weights: K embeddings, D the width of the language model."""

    name: str
    token: str
    embeddings: int  # K
    distribution: str
    version: str
    order: int  # place in the task table
    rows_input: Tensor  # (1, D) the token's row of the input matrix
    rows_output: Tensor  # (1, D) the token's row of the head
    vectors: Tensor  # (K, D) the task embeddings
    decoder: Mapping[str, Tensor] = field(default_factory=dict)
    asking: Tensor | None = None  # (2, D) by which it hears that it is meant, where it has learned to
    lora: Mapping[str, Tensor] = field(default_factory=dict)  # `LAYER.A`, `LAYER.B` over the language model's layers
    core: str = ""  # `Manifest.core_id` of the core that it was trained on, where the file says it

    @property
    def entry(self) -> TaskEntry:
        """Its line in a manifest's task table; raises `CheckpointError` if it cannot be one."""
        columns = ("name", "token", "embeddings", "distribution", "version", "order")
        try:
            return TaskEntry(**{column: getattr(self, column) for column in columns})
        except ValidationError as error:
            where = error.errors(include_url=False)[0]["loc"][0]
            raise CheckpointError(f"task '{shown(self.name, 40)}' has an impossible {where}") from error

    def check(self, *, embeddings: int | None = None, width: int | None = None) -> None:
        """Raises `CheckpointError` unless the shapes fit each other and, if given, the task's K and the core's D."""
        d = self.vectors.shape[-1] if self.vectors.ndim == 2 else -1
        shapes = {
            _ROWS_INPUT: (self.rows_input, (1, d)),
            _ROWS_OUTPUT: (self.rows_output, (1, d)),
            _VECTORS: (self.vectors, (self.embeddings, d)),
        }
        if self.asking is not None:
            shapes[_ASKING] = (self.asking, (2, d))
        for key, (tensor, wanted) in shapes.items():
            if tuple(tensor.shape) != wanted:
                found = shown(tuple(tensor.shape), 40)
                raise CheckpointError(f"task '{self.name}': {key} has the shape {found}, expected {wanted}")
        if embeddings is not None and self.embeddings != embeddings:
            raise CheckpointError(
                f"task '{self.name}': the weights hold {self.embeddings} embeddings, the plugin wants {embeddings}"
            )
        if width is not None and d != width:
            raise CheckpointError(f"task '{self.name}': the weights are of width {d}, the core of width {width}")


def task_chunks(task: TaskFile) -> Iterator[bytes | memoryview]:
    """The bytes of a task's file."""
    task.check()
    tensors = {_ROWS_INPUT: task.rows_input, _ROWS_OUTPUT: task.rows_output, _VECTORS: task.vectors}
    tensors |= {} if task.asking is None else {_ASKING: task.asking}
    tensors |= {_DECODER + key: tensor for key, tensor in task.decoder.items()}
    tensors |= {_LORA + key: tensor for key, tensor in task.lora.items()}
    said = {_KEY: json.dumps(task.entry.model_dump())} | ({_CORE: task.core} if task.core else {})
    yield from tensor_chunks(tensors, said, f"task '{task.name}'")


def parse_task_file(data: bytearray, name: str) -> TaskFile:
    """The task in a file that is in memory."""
    tensors, metadata = read_tensors(data, name)
    if _KEY not in metadata:
        raise CheckpointError(f"{name} is not a task's file of chiasm: its header has no '{_KEY}'")
    text = metadata[_KEY].encode("utf-8", "replace")
    parse_object(text, name, error=CheckpointError)
    try:
        entry = TaskEntry.model_validate_json(text)
    except ValidationError as error:
        raise CheckpointError(f"{name} has a task manifest that is not valid") from error
    rows = [tensors.pop(key) for key in (_ROWS_INPUT, _ROWS_OUTPUT, _VECTORS) if key in tensors]
    asking = tensors.pop(_ASKING, None)
    lora = {key.removeprefix(_LORA): tensors.pop(key) for key in [*tensors] if key.startswith(_LORA)}
    decoder = {key.removeprefix(_DECODER): tensor for key, tensor in tensors.items() if key.startswith(_DECODER)}
    if len(decoder) != len(tensors) or len(rows) != 3:
        raise CheckpointError(f"{name} must hold {_ROWS_INPUT}, {_ROWS_OUTPUT}, {_VECTORS} and {_DECODER}* alone")
    core = metadata.get(_CORE, "")
    if core and not CORE_ID.fullmatch(core):
        raise CheckpointError(f"{name} has a task manifest that is not valid: look at '{_CORE}'")
    told = {**entry.model_dump(), "asking": asking, "core": core, "lora": lora}
    return TaskFile(rows_input=rows[0], rows_output=rows[1], vectors=rows[2], decoder=decoder, **told)


def write_task_file(path: str | os.PathLike[str], task: TaskFile) -> None:
    """`task` as a file of its own; written whole or not at all."""
    write_whole(path, task_chunks(task), error=CheckpointError)


def read_task_file(path: str | os.PathLike[str]) -> TaskFile:
    """The task in the file at `path`, its shapes checked against each other."""
    name = f"'{shown_path(path)}'"
    task = parse_task_file(read_file(path, name), name)
    task.check()
    return task
