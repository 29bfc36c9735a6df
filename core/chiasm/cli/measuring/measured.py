"""What every way to measure is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measured:
    """The model that is measured, where it runs, and whether programs or people read the figures."""

    model: str
    device: str
    as_json: bool
    tasks_from: tuple[Path, ...] = ()
