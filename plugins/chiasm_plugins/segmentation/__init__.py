"""Segmentation, [SEG]: masks of everything a phrase means, or of what a caller's boxes and points show."""

from .task import chiasm_tasks

__all__ = ["chiasm_tasks"]
