"""Model folders: a manifest that vouches for every byte, weights as safetensors, one file a task. Never a pickle."""

from __future__ import annotations

from .joining import add_tasks
from .manifest import FORMAT, Manifest, TaskEntry
from .read import Checkpoint, read_checkpoint
from .taskfile import TaskFile, read_task_file, write_task_file
from .write import write_again, write_checkpoint

__all__ = [
    "FORMAT",
    "Checkpoint",
    "Manifest",
    "TaskEntry",
    "TaskFile",
    "add_tasks",
    "read_checkpoint",
    "read_task_file",
    "write_again",
    "write_checkpoint",
    "write_task_file",
]
