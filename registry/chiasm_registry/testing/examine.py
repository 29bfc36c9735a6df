"""The rules tried on an installed plugin, or on one file, in a child process: even its death is a line there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..child import Tell, in_child
from ..discovery import PluginInfo, claimed, discover
from ..errors import InputError, shown
from ..settings import Settings, applied
from .find import bench_of
from .rule import Finding, tried
from .rules import RULES

LIMIT_S = 300.0
LOADING = "loads"  # what stands in the report for everything before the first rule


@dataclass(frozen=True)
class Examined:
    """What came of one plugin: every finding by task; under `""` that of its loading."""

    plugin: PluginInfo
    findings: Mapping[str, Sequence[Finding]]

    @property
    def sound(self) -> bool:
        """Whether nothing failed."""
        return not any(one.verdict == "failed" for own in self.findings.values() for one in own)


Heard = Callable[[str, Finding], None]
More = Callable[[str, Tell], None]  # further findings of a task, told as the rules' are


def examine(target: str, *, limit_s: float = LIMIT_S, heard: Heard | None = None, more: More | None = None) -> Examined:
    """Try every rule on a plugin by its name, or on a file by its path; `heard` is told each finding as it comes.

    `more` runs in the child behind the rules of each task, for what the registry cannot try by itself.
    """
    path = target if target.endswith(".py") or "/" in target else ""
    name = Path(path).stem if path else target
    with applied(Settings(only=(name,), files=(path,) if path else ())):
        infos = [info for info in claimed() if name in (info.name, info.distribution)]
        if not infos:
            raise InputError(f"no plugin {shown(repr(target), 60)} is installed; `chiasm plugins list` shows what is")
        report = _Report(infos[0], heard)
        fault = in_child(lambda tell: _tried(name, tell, more), limit_s, report.take)
    return report.ended(fault)


def _tried(name: str, tell: Tell, more: More | None) -> None:
    """In the child: load the plugin alone, then every rule of every task; what begins is told before it does."""
    tell({"task": "", "begins": LOADING})
    catalog = discover(only=[name], strict=False)
    infos = [info for info in catalog.plugins if info.status != "disabled"]
    for info in infos:
        loaded = Finding(LOADING, "ok" if info.status == "ok" else "failed", info.reason)
        tell({"task": "", **asdict(loaded), "plugin": asdict(info)})
    for task in catalog.tasks:
        bench = bench_of(task)
        for rule in RULES:
            tell({"task": task, "begins": rule.name})
            tell({"task": task, **asdict(tried(rule, bench)[0])})
        if more is not None:
            more(task, lambda value, task=task: tell({"task": task, **value}))  # type: ignore[misc]


class _Report:
    """Collects what a child tells."""

    def __init__(self, info: PluginInfo, heard: Heard | None) -> None:
        self.info, self.heard = info, heard
        self.findings: dict[str, list[Finding]] = {}
        self.running = ("", LOADING)

    def take(self, told: dict[str, Any]) -> None:
        """One message: that something begins, or what came of it."""
        if "begins" in told:
            self.running = (told["task"], told["begins"])
            return
        if "plugin" in told:
            self.info = PluginInfo(**{**told["plugin"], "tasks": tuple(told["plugin"]["tasks"])})
        self._add(told["task"], Finding(told["rule"], told["verdict"], told["reason"]))

    def ended(self, fault: str | None) -> Examined:
        """The whole report; a death is a failure of what was running."""
        if fault is not None:
            task, rule = self.running
            self._add(task, Finding(rule, "failed", fault))
        return Examined(self.info, self.findings)

    def _add(self, task: str, finding: Finding) -> None:
        self.findings.setdefault(task, []).append(finding)
        if self.heard is not None:
            self.heard(task, finding)
