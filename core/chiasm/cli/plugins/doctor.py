"""`chiasm plugins doctor`: what stands in the way of the platform or of one of its plugins here, and the cure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import typer


class Check(NamedTuple):
    """One thing that was looked at; `says` is what was found, and the cure where it is not well."""

    name: str
    well: bool
    says: str


def doctor(as_json: Annotated[bool, typer.Option("--json", help="One JSON array on stdout.")] = False) -> None:
    """Look for what is wrong here, and say the cure. Exit code 2 if there is anything."""
    checks = list(_checks())
    if as_json:
        typer.echo(json.dumps([check._asdict() for check in checks], indent=2))
    else:
        for check in checks:
            typer.echo(f"{'ok' if check.well else 'SICK':6}{check.name:20}{check.says}".rstrip())
    if not all(check.well for check in checks):
        raise typer.Exit(2)


def _checks() -> Iterator[Check]:
    yield from _platform()
    yield from _settings()
    yield from _plugins()


def _platform() -> Iterator[Check]:
    import platform
    from importlib.metadata import distribution

    from chiasm_registry.child import can_fork
    from chiasm_registry.requirements import grievance

    yield Check("python", True, platform.python_version())
    found = distribution("chiasm")
    fault = grievance(found, own=True)
    yield Check("chiasm", fault is None, f"{found.version}{'' if fault is None else ': ' + fault[1]}")
    cure = "this system cannot copy a process: plugins are listed and checked unguarded against crashes"
    yield Check("isolation", True, "plugins are listed and checked in a process of their own" if can_fork() else cure)


def _settings() -> Iterator[Check]:
    from chiasm_registry.settings import Settings

    said = Settings.read().variables()
    for name, text in said.items():
        yield Check("setting", True, f"{name}={text}")


def _plugins() -> Iterator[Check]:
    from chiasm_registry.survey import survey

    plugins = survey().plugins
    if not plugins:
        yield Check("plugins", False, "none is installed, not even chiasm's own; reinstall chiasm")
    for info in plugins:
        well, where = info.status in ("ok", "disabled"), f"{info.distribution} {info.version}".strip()
        cure = "" if well else f"; or leave it out: CHIASM_PLUGINS_BLOCK={info.name}"
        reason = f": {info.reason}" if info.reason else ""
        yield Check(f"plugin {info.name}", well, f"{info.status} ({where}){reason}{cure}")
