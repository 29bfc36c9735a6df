"""Installed plugins -> Catalog: each with its status and the reason, whatever one does; loads no torch itself."""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from .entrypoints import Claim, canonical, read_claims
from .errors import PluginError, shown
from .guard import LOG, Outcome, clean, guarded, tell
from .hooks import ENTRY_POINT_GROUP, PROJECT
from .onefile import file_claim, import_file
from .plugin import IncompatiblePluginError, MissingPluginError, import_plugin, tasks_of
from .settings import Settings
from .task import Task

Status = Literal["ok", "failed", "conflict", "incompatible", "missing", "disabled"]

REASON_CHARS = 200
SLOW_IMPORT_S = 30.0
TRACE_FRAMES = -8  # the innermost of a traceback


@dataclass(frozen=True)
class PluginInfo:
    """One plugin as discovery found it; `reason` is one line, empty when there is nothing to say."""

    name: str
    status: Status
    reason: str
    distribution: str
    version: str
    tasks: tuple[str, ...] = ()  # names of the tasks that it brings or, in a conflict, would bring
    # where it is imported from, and which attribute of that is the plugin
    module: str = field(default="", compare=False)
    attribute: str = field(default="", compare=False)
    path: str = field(default="", compare=False)  # of a one-file plugin
    traceback: str = field(default="", compare=False, repr=False)  # of what it raised, for its author


@dataclass(frozen=True)
class Catalog:
    """What is installed: all plugins, and the tasks of those that are ok."""

    plugins: tuple[PluginInfo, ...]
    tasks: Mapping[str, Task]

    def task(self, name: str) -> Task:
        """The task of that name, or an error that lists what there is."""
        if name in self.tasks:
            return self.tasks[name]
        broken = [p for p in self.plugins if p.status != "ok" and name in (p.name, *p.tasks)]
        if broken:
            cause = f"plugin {broken[0].name!r} is {broken[0].status}: {broken[0].reason}"
            raise PluginError(shown(f"no task {shown(repr(name), 40)}: {cause}", REASON_CHARS))
        raise PluginError(
            f"no task {shown(repr(name), 40)}; installed: {shown(', '.join(sorted(self.tasks)) or 'none')}"
        )

    def extended(self, plugins: Iterable[object]) -> Catalog:
        """The catalog and plugins of this process: objects with the hook, or tasks. One that fails is an error."""
        found = [_try_object(plugin) for plugin in plugins]
        own = [_Found(info, tuple(self.tasks[name] for name in info.tasks)) for info in self.plugins if _is_ok(info)]
        settled = _settled([*own, *found])
        for before, now in zip([*own, *found], settled, strict=True):
            if not _is_ok(now.info) or not _is_ok(before.info):
                raise PluginError(
                    shown(f"plugin {now.info.name!r} is {now.info.status}: {now.info.reason}", REASON_CHARS)
                )
        others = [info for info in self.plugins if not _is_ok(info)]
        return _catalog([*settled, *(_Found(info) for info in others)])


@dataclass(frozen=True)
class _Found:
    info: PluginInfo
    tasks: tuple[Task, ...] = field(default=())
    error: BaseException | None = None


def discover(
    *,
    only: Collection[str] | None = None,
    block: Collection[str] = (),
    files: Collection[str] = (),
    strict: bool | None = None,
    group: str = ENTRY_POINT_GROUP,
) -> Catalog:
    """Load the installed plugins, each behind a guard; `only` and `block` name plugins or distributions.

    `files` are paths of one-file plugins. `strict` makes the first plugin that is not ok, and not switched off, a
    `PluginError` with the cause behind it. What is left out is as `Settings` has it.
    """
    said = Settings.read()
    if said.trace:
        tell()
    only, block = said.only if only is None else only, block or said.block
    claims = [*read_claims(group), *map(file_claim, files or said.files)]
    absent = sorted(set(only or ()) - {word for claim in claims for word in (claim.name, claim.distribution)})
    found = [_refused(claim, claims, only, block) or _try(claim) for claim in claims]
    missing = [
        _Found(PluginInfo(shown(name), "missing", "it was asked for and is not installed", "", "")) for name in absent
    ]
    settled = [*_settled(found), *missing]
    if said.strict if strict is None else strict:
        _refuse_broken(settled)
    return _catalog(settled)


def claimed(group: str = ENTRY_POINT_GROUP) -> tuple[PluginInfo, ...]:
    """Every plugin that says it is there, by its metadata and path alone; nothing is imported."""
    claims = [*read_claims(group), *map(file_claim, Settings.read().files)]
    return tuple(_found(claim, "disabled", claim.fault).info for claim in claims)


def _refuse_broken(found: Sequence[_Found]) -> None:
    for one in found:
        if one.info.status not in ("ok", "disabled"):
            raise PluginError(
                shown(f"plugin {one.info.name!r} is {one.info.status}: {one.info.reason}", REASON_CHARS)
            ) from one.error


def _catalog(found: Sequence[_Found]) -> Catalog:
    ordered = sorted(found, key=lambda one: (one.info.name, one.info.distribution))
    tasks = {task.spec.name: task for one in ordered if _is_ok(one.info) for task in one.tasks}
    return Catalog(tuple(one.info for one in ordered), tasks)


def _is_ok(info: PluginInfo) -> bool:
    return info.status == "ok"


def _is_platform(distribution: str) -> bool:
    return canonical(distribution) == PROJECT


def _refused(
    claim: Claim, claims: Sequence[Claim], only: Collection[str] | None, block: Collection[str]
) -> _Found | None:
    """What keeps a plugin from being imported at all, seen from the metadata alone."""

    def listed(one: Claim, words: Collection[str]) -> bool:
        return one.name in words or one.distribution in words

    if listed(claim, block) or (only is not None and not listed(claim, only)):
        return _found(claim, "disabled", "it is switched off for this run")
    rivals = [
        other.distribution
        for other in claims
        if other.name == claim.name
        and other is not claim
        and not listed(other, block)
        and (only is None or listed(other, only))
    ]
    if rivals and not (_is_platform(claim.distribution) and not any(map(_is_platform, rivals))):
        return _found(
            claim, "conflict", f"the plugin name {claim.name!r} is claimed by {_both(claim.distribution, rivals)}"
        )
    return _found(claim, cast(Status, claim.status), claim.fault) if claim.fault else None


def _both(one: str, rivals: Iterable[str]) -> str:
    return f"{' and '.join(sorted({one, *rivals}))}; uninstall or block one"


def _try(claim: Claim) -> _Found:
    def load() -> object:
        if claim.path:
            return import_file(claim.path, claim.module)
        return import_plugin(claim.module, claim.attribute, claim.distribution)

    # Two guards: what the import changed is put back before the hook is asked.
    imported = guarded(load, f"the import of plugin {claim.name!r}", claim.module, SLOW_IMPORT_S)
    LOG.info("plugin %r: imported in %.3f s", claim.name, imported.seconds)
    if imported.fault is not None:
        return _failed(claim, imported)
    asked = guarded(lambda: tasks_of(imported.value), f"the hook of plugin {claim.name!r}", claim.module, SLOW_IMPORT_S)
    if asked.value is None:
        return _failed(claim, asked)
    changed, left = (*imported.changed, *asked.changed), (*imported.left, *asked.left)
    reason = f"its import left {left[0]} behind" if left else ""
    if changed:
        reason = f"its import changed the {', '.join(dict.fromkeys(changed))}; put back"
    return _found(claim, "ok", reason, asked.value)


def _failed(claim: Claim, outcome: Outcome[Any]) -> _Found:
    status: Status = "failed"
    if isinstance(outcome.error, IncompatiblePluginError):
        status = "incompatible"
    if isinstance(outcome.error, MissingPluginError):
        status = "missing"
    return _found(claim, status, outcome.fault or "", error=outcome.error)


def _try_object(plugin: object) -> _Found:
    name = shown(getattr(plugin, "__name__", None) or type(plugin).__name__)
    claim = Claim(name, type(plugin).__module__, "", "this process", "")
    outcome = guarded(lambda: tasks_of(plugin), f"plugin {name!r}", claim.module, SLOW_IMPORT_S)
    return _found(claim, "failed" if outcome.value is None else "ok", outcome.fault or "", outcome.value or ())


def _found(
    claim: Claim, status: Status, reason: str, tasks: tuple[Task, ...] = (), error: BaseException | None = None
) -> _Found:
    LOG.info("plugin %r: %s %s", claim.name, status, reason)
    names = tuple(task.spec.name for task in tasks)
    home = (claim.module, claim.attribute, claim.path)
    about = (claim.distribution, claim.version, names, *home, _traceback(error))
    return _Found(PluginInfo(claim.name, status, clean(reason, REASON_CHARS), *about), tasks, error)


def _traceback(error: BaseException | None) -> str:
    if error is None or isinstance(error, PluginError):  # ours: the reason says it all
        return ""
    try:
        return "".join(traceback.format_exception(error, limit=TRACE_FRAMES))
    except Exception:  # a plugin's own class may even fail at being printed
        return ""


def _settled(found: Sequence[_Found]) -> list[_Found]:
    """Every plugin whose task name or token another one claims too is a conflict, in whatever order they came."""
    claimants: defaultdict[str, list[_Found]] = defaultdict(list)
    for one in found:
        for task in one.tasks:
            claimants[f"task name {task.spec.name!r}"].append(one)
            claimants[f"token {task.spec.token!r}"].append(one)
    return [_against_rivals(one, claimants) for one in found]


def _against_rivals(one: _Found, claimants: Mapping[str, Sequence[_Found]]) -> _Found:
    for what, claiming in claimants.items():
        rivals = [other.info.distribution for other in claiming if other is not one]
        if not rivals or not any(other is one for other in claiming):
            continue
        if _is_platform(one.info.distribution) and not any(map(_is_platform, rivals)):
            continue  # the platform's own names are not up for grabs
        reason = clean(f"the {what} is claimed by {_both(one.info.distribution, rivals)}", REASON_CHARS)
        return replace(one, info=replace(one.info, status="conflict", reason=reason))
    return one
