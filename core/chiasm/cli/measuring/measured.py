"""What every way to measure is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chiasm import Model


@dataclass(frozen=True)
class Measured:
    """The model that is measured, where it runs, and whether programs or people read the figures."""

    model: str
    device: str
    as_json: bool
    tasks_from: tuple[Path, ...] = ()

    def load(self, tasks: Sequence[str] | None = None, *, device: str | None = None) -> Model:
        """The model with `tasks` (None: all), on another device if one is given."""
        import chiasm

        from ..start import kept_for_good

        with kept_for_good():
            return chiasm.load(self.model, device=device or self.device, tasks=tasks, tasks_from=self.tasks_from)
