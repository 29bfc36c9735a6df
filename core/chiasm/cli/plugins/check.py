"""`chiasm plugins check`: every rule of the conformance kit on one plugin, in a process of its own."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chiasm_registry.testing import Finding
    from chiasm_registry.testing.examine import Examined


def check_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE.py", help="An installed plugin, or one in a file.")],
    deep: Annotated[bool, typer.Option("--deep", help="Ask it on the embedded model, too: takes longer.")] = False,
    limit: Annotated[float, typer.Option("--limit", metavar="SECONDS", min=1, help="After that it is stopped.")] = 300,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Try the rules that every task keeps; what ends or stops the process is a line, too. Exit code 2 if one fails."""
    from chiasm_registry.testing.examine import examine

    def heard(task: str, finding: Finding) -> None:
        if not as_json:
            typer.echo(_line(task, finding))

    from .deep import asked_on_nano

    examined = examine(name, limit_s=limit, heard=heard, more=asked_on_nano if deep else None)
    typer.echo(json.dumps(_plain(examined), indent=2) if as_json else _sum(examined))
    if not examined.sound:
        raise typer.Exit(2)


def _line(task: str, finding: Finding) -> str:
    mark = {"ok": "ok", "failed": "FAILED", "skipped": "-"}[finding.verdict]
    return f"{mark:8}{task:16}{finding.rule:12}{finding.reason}".rstrip()


def _sum(examined: Examined) -> str:
    verdicts = [one.verdict for own in examined.findings.values() for one in own]
    ok, failed, skipped = (sum(verdict == kind for verdict in verdicts) for kind in ("ok", "failed", "skipped"))
    counts = f"{ok} ok, {failed} failed, {skipped} not asked"
    whose = f"{examined.plugin.distribution} {examined.plugin.version}".strip()
    return f"{examined.plugin.name} of {whose}: {counts}"


def _plain(examined: Examined) -> dict[str, object]:
    info = examined.plugin
    findings = [{"task": task, **asdict(one)} for task, own in examined.findings.items() for one in own]
    about = {"name": info.name, "distribution": info.distribution, "version": info.version, "status": info.status}
    return {"plugin": about, "sound": examined.sound, "findings": findings}
