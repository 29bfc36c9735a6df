"""Generation, [GEN]: a picture of what a phrase says."""

from .task import chiasm_tasks

__all__ = ["chiasm_tasks"]
