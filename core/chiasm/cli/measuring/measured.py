"""What every way to measure is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from chiasm import Model


@dataclass(frozen=True)
class Measured:
    """The model that is measured, where it runs, and whether programs or people read the figures."""

    model: str
    device: str
    as_json: bool
    tasks_from: tuple[Path, ...] = ()
    given: Mapping[str, str] = field(default_factory=dict)  # the flag of every option that was typed, by its name

    def refuse_others(self, asked: Any, what: str) -> None:
        """An InputError that names the options that were typed and that measuring `what` would pass over in silence."""
        from chiasm_registry.errors import InputError

        taken = {one.name for one in (*fields(self), *fields(asked))}
        others = [flag for name, flag in self.given.items() if name not in taken]
        if others:
            cure = "leave them out" if others[1:] else "leave it out"
            raise InputError(f"{', '.join(others)}: not for measuring {what}; {cure}")

    def tell(self, report: Mapping[str, Any], text: Callable[[], str], notes: Iterable[str]) -> None:
        """The notes on stderr, then the report: for programs in ASCII, which every terminal passes on as it is."""
        import json

        from ..errors import complain

        for note in notes:
            complain(note)
        typer.echo(json.dumps(report, allow_nan=False) if self.as_json else text())

    def load(self, tasks: Sequence[str] | None = None, *, device: str | None = None) -> Model:
        """The model with `tasks` (None: all), on another device if one is given."""
        import chiasm

        from ..start import kept_for_good

        with kept_for_good():
            return chiasm.load(self.model, device=device or self.device, tasks=tasks, tasks_from=self.tasks_from)


def given(context: typer.Context) -> dict[str, str]:
    """The flags that were typed, by the names of what they set."""
    flags = {option.name or "": option.opts[0] for option in context.command.params}
    sources = {name: context.get_parameter_source(name) for name in flags}
    return {name: flags[name] for name, source in sources.items() if source is not None and source.name != "DEFAULT"}
