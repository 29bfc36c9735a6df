"""What is installed, asked in a child process: a plugin that ends or stops its process costs nobody else their row."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from .child import Tell, told_by
from .describe import describe_task
from .discovery import PluginInfo, claimed, discover
from .settings import Settings

LIMIT_S = 60.0  # of all plugins together, and of each where one of them has to be found


@dataclass(frozen=True)
class Survey:
    """Every plugin's row; if asked for the declarations of the tasks that are ok, by name, in plain values."""

    plugins: tuple[PluginInfo, ...]
    tasks: Mapping[str, Any]


def survey(*, limit_s: float = LIMIT_S, declarations: bool = False) -> Survey:
    """Discovery, as `Settings` has it, without its dangers; `declarations` asks for those of the tasks, too."""
    found, fault = _asked(limit_s, declarations)
    if fault is None:
        return found
    # Somebody ended the child: each is asked by itself, then all others together, as conflicts show in company only.
    deaths = {info.name: (info, why) for info in claimed() if (why := _asked(limit_s, False, only=[info.name])[1])}
    found, fault = _asked(limit_s, declarations, block=[*Settings.read().block, *deaths])
    rows = [info for info in found.plugins if info.name not in deaths]
    dead = [replace(info, status="failed", reason=why) for info, why in deaths.values()]
    return Survey(tuple(sorted([*rows, *dead], key=lambda info: (info.name, info.distribution))), found.tasks)


def _asked(
    limit_s: float, declarations: bool, *, only: Collection[str] | None = None, block: Collection[str] = ()
) -> tuple[Survey, str | None]:
    def work(tell: Tell) -> None:
        catalog = discover(only=only, block=block, strict=False)
        tasks = {name: describe_task(task) for name, task in catalog.tasks.items()} if declarations else {}
        tell([[asdict(info) for info in catalog.plugins], tasks])

    told, fault = told_by(work, limit_s)
    rows, tasks = told[0] if told else ([], {})
    plugins = tuple(PluginInfo(**{**row, "tasks": tuple(row["tasks"])}) for row in rows)
    return Survey(plugins, tasks), fault
