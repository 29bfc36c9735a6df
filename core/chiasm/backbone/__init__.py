"""The designs of vision-language models that core can speak through."""

from __future__ import annotations

from .load import load_backbone

__all__ = ["load_backbone"]
