"""`chiasm plugins list`: what is installed, with its status and the reason. Loads plugins, never torch by itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import typer

from ..errors import BAD_INPUT

COLUMNS = ("name", "status", "reason", "distribution", "version")


def list_plugins(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array on stdout, an object a plugin.")] = False,
) -> None:
    """List the plugins with their status: ok, failed, conflict, incompatible, missing or disabled."""
    from chiasm_registry.settings import Settings
    from chiasm_registry.survey import survey

    plugins = survey().plugins
    rows = [{column: str(getattr(plugin, column)) for column in COLUMNS} for plugin in plugins]
    typer.echo(json.dumps(rows, indent=2) if as_json else as_text(rows))
    if Settings.read().strict and not all(plugin.status in ("ok", "disabled") for plugin in plugins):
        raise typer.Exit(BAD_INPUT)


def as_text(rows: Sequence[dict[str, str]]) -> str:
    """The rows in columns as wide as their longest cell; the reason, which may be long, stands last."""
    order = [column for column in COLUMNS if column != "reason"] + ["reason"]
    table = [dict(zip(order, order, strict=True)), *rows]
    widths = {column: max(len(row[column]) for row in table) for column in order}
    return "\n".join("  ".join(row[column].ljust(widths[column]) for column in order).rstrip() for row in table)
