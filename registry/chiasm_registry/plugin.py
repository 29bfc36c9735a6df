"""One plugin: import it, ask its one hook, check what it hands over. Registers nothing that could be left half done."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from importlib import import_module
from inspect import getattr_static
from typing import Any

import pluggy

from .errors import PluginError, shown
from .hooks import PROJECT, HookSpecs
from .spec import API_VERSION, TaskSpec
from .task import Task

HOOK = "chiasm_tasks"
MAX_TASKS = 64  # of one plugin


class IncompatiblePluginError(PluginError):
    """The plugin is written for another version of this contract."""


class MissingPluginError(PluginError):
    """The plugin, or something that it imports, is not installed."""


def import_plugin(module: str, attribute: str, distribution: str) -> object:
    """The object behind an entry point."""
    try:
        plugin: object = import_module(module)
    except ModuleNotFoundError as error:
        absent = shown(error.name or "?", 60)
        if f"{module}.".startswith(f"{error.name}."):
            raise MissingPluginError(f"its module {absent!r} is not there; reinstall {distribution}") from None
        raise MissingPluginError(f"it needs the module {absent!r}, which is not installed") from None
    try:
        return reduce(getattr, attribute.split("."), plugin) if attribute else plugin
    except AttributeError:
        raise PluginError(f"its module {shown(module, 60)} has no {shown(attribute, 60)!r}") from None


def tasks_of(plugin: object) -> tuple[Task, ...]:
    """The checked tasks of a plugin, all or none; a Task stands for a plugin that brings just it."""
    tasks: Sequence[Any] = [plugin] if isinstance(plugin, Task) else _ask(plugin)
    if len(tasks) > MAX_TASKS:
        raise PluginError(f"its {HOOK}() returned {len(tasks)} tasks; {MAX_TASKS} are the most")
    for task in tasks:
        _check_task(task)
    _refuse_doubles([task.spec for task in tasks])
    return tuple(tasks)


def _ask(plugin: object) -> Sequence[Any]:
    """What the plugin's hook returns, called alone: a wrapper or an error reaches no other plugin's tasks."""
    manager = pluggy.PluginManager(PROJECT)  # one of its own, thrown away afterwards
    manager.add_hookspecs(HookSpecs)
    try:
        manager.register(plugin)
    except pluggy.PluginValidationError:
        raise PluginError(f"its {HOOK}() must be a plain function without arguments") from None
    callers = manager.get_hookcallers(plugin) or []
    for caller in callers:
        if caller.name != HOOK:
            raise PluginError(f"it has a hook {shown(caller.name, 60)!r} that chiasm does not know; is it {HOOK}?")
    if not callers:
        raise PluginError(f"it has no {HOOK}(); write one and mark it with @hookimpl")
    (implementation,) = callers[0].get_hookimpls()
    if implementation.wrapper or implementation.hookwrapper or implementation.tryfirst:
        raise PluginError(f"its {HOOK}() is marked as wrapper or tryfirst; use the bare @hookimpl")
    tasks = implementation.function()
    if type(tasks) not in (list, tuple):
        raise PluginError(f"its {HOOK}() returned {shown(type(tasks).__name__, 40)}; return a list of tasks")
    assert isinstance(tasks, (list, tuple))
    return tasks


def _check_task(task: object) -> None:
    if not isinstance(task, Task):
        raise PluginError(f"its {HOOK}() returned a {shown(type(task).__name__, 40)} where a Task must stand")
    # Read again and again later, where no guard stands: nothing may compute it anew each time.
    spec = getattr_static(task, "spec", None)
    if type(spec) is not TaskSpec:
        raise PluginError(f"its task {shown(type(task).__name__, 40)} has no `spec` that is a TaskSpec")
    # Declared without validation (model_construct), a spec could hold anything.
    TaskSpec.model_validate({name: getattr(spec, name, None) for name in TaskSpec.model_fields})
    _check_api(spec)


def _check_api(spec: TaskSpec) -> None:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    asked = shown(repr(spec.api), 40)
    try:
        fits = bool(spec.api.strip()) and SpecifierSet(spec.api).contains(API_VERSION)
    except InvalidSpecifier:
        raise IncompatiblePluginError(f"task {spec.name!r} asks for API {asked}; write one like '>=1,<2'") from None
    if not fits:
        raise IncompatiblePluginError(f"task {spec.name!r} asks for API {asked}, this chiasm has {API_VERSION}")


def _refuse_doubles(specs: Sequence[TaskSpec]) -> None:
    for what, values in (("name", [s.name for s in specs]), ("token", [s.token for s in specs])):
        double = next((value for value in values if values.count(value) > 1), None)
        if double is not None:
            raise PluginError(f"two of its tasks have the {what} {double!r}")
