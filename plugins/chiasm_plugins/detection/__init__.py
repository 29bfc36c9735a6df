"""Detection, [DET]: boxes of everything a phrase means."""

from .task import chiasm_tasks

__all__ = ["chiasm_tasks"]
