"""What a caller may set, checked against the schemas that tasks declare; an unknown option is named."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

from chiasm_registry import InputError, NoOptions, PluginError, TaskTable
from chiasm_registry.errors import shown
from chiasm_registry.guard import clean, guarded
from chiasm_registry.outputs import NOTICE_CHARS, Notice
from pydantic import BaseModel, ValidationError

from .limits import Limits
from .routing.sampling import Sampling

MAX_OBJECTS = 100  # of one image, when the caller says nothing
MOST_OBJECTS = 100_000


def told(value: object) -> str:
    """A caller's value for a message; a long number or an object (whose own text may hold an address) by its kind."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    if value is None or type(value) in (str, int, float, bool):
        return shown(repr(value), 40)
    return f"of type {shown(type(value).__name__, 40)}"


def listed(values: Any, what: str) -> list[Any]:
    """The items of a list of the caller's; a single one, which a list must hold too, is refused."""
    if not isinstance(values, (str, bytes, Mapping)) and isinstance(values, Collection):
        with suppress(TypeError):  # an array of no dimension is a Collection, too, by its methods
            return list(values)
    raise InputError(f"{what} must be a list, not {told(values)}; for one write [...]")


def count_of(value: Any, what: str, low: int, high: int) -> int:
    """A whole number within a range."""
    if type(value) is not int or not low <= value <= high:
        raise InputError(f"{what} is {told(value)}; it must be a whole number from {low} to {high}")
    return value


@dataclass(frozen=True)
class TaskOptions:
    """Each task's own options, and how many objects a result may hold."""

    of_task: Mapping[str, BaseModel]
    max_objects: int = MAX_OBJECTS
    left_out: tuple[Notice, ...] = ()  # tasks whose options cannot be made, of those that nobody asked for by name

    @classmethod
    def shared(cls, table: TaskTable, names: Sequence[str], given: Mapping[str, Any]) -> TaskOptions:
        """The same options for several tasks: each takes those it declares; one that none declares is refused."""
        known = {key for name in names for key in table.by_name(name).spec.options.model_fields}
        for key in given:
            if key not in known:
                raise InputError(f"unknown option {shown(repr(key), 40)}; {' and '.join(names)} take {_named(known)}")
        return cls.of(table, names, given)

    @classmethod
    def of(cls, table: TaskTable, names: Sequence[str], given: Mapping[str, Any]) -> TaskOptions:
        """Each task takes those options that it declares."""
        return cls({name: task_options(table, name, given) for name in names}, _limit(given))

    @classmethod
    def of_sound(cls, table: TaskTable, names: Sequence[str], given: Mapping[str, Any]) -> TaskOptions:
        """The same, without the tasks whose own code cannot make its options."""
        of_task, left_out = {}, []
        for name in names:
            try:
                of_task[name] = task_options(table, name, given)
            except PluginError as error:
                left_out.append(Notice(text=clean(f"task {name!r} is left out: {error}", NOTICE_CHARS), task=name))
        return cls(of_task, _limit(given), tuple(left_out))


def _limit(given: Mapping[str, Any]) -> int:
    limit = given.get("max_objects")
    return MAX_OBJECTS if limit is None else count_of(limit, "max_objects", 1, MOST_OBJECTS)


def task_names(table: TaskTable, task: str | Sequence[str], *, without_image: bool = False) -> tuple[str, ...]:
    """The tasks of a guided request: at least one, each loaded, each once; without an image those that need none."""
    names = tuple(_loaded(table, name) for name in ([task] if isinstance(task, str) else listed(task, "task")))
    if len(set(names)) != len(names) or not names:
        raise InputError(f"tasks must name each task once, not {shown(list(names))}")
    for name in names:
        if without_image and table.by_name(name).spec.needs_image:
            raise InputError(f"task {name!r} needs an image; give one in place of None")
    return names


def allowed_tasks(table: TaskTable, tasks: Sequence[str] | None) -> tuple[str, ...]:
    """The tasks that an answer may route to; None is all that are loaded."""
    if tasks is None:
        return tuple(table.tasks)
    return tuple(dict.fromkeys(_loaded(table, name) for name in listed(tasks, "tasks")))


def _loaded(table: TaskTable, name: object) -> str:
    """The name of a loaded task, or an error that lists what there is."""
    if not isinstance(name, str) or name not in table.tasks:
        raise InputError(f"no task {told(name)} is loaded; loaded: {shown(', '.join(table.tasks)) or 'none'}")
    return name


def check_threshold(threshold: object) -> None:
    """Refuse what no score can be compared with; None is each task's own."""
    number = isinstance(threshold, (int, float)) and not isinstance(threshold, bool)
    if threshold is not None and not (number and 0 <= threshold <= 1):  # type: ignore[operator]
        raise InputError(f"threshold is {told(threshold)}; it must be a number from 0 to 1")


def task_options(table: TaskTable, name: str, given: Mapping[str, Any]) -> BaseModel:
    """The task's options with what of `given` it declares; None means its own default."""
    schema = table.by_name(name).spec.options
    own = {key: value for key, value in given.items() if key in schema.model_fields and value is not None}
    if schema is NoOptions:
        return schema()

    def make() -> BaseModel | ValidationError:
        try:
            return schema(**own)
        except ValidationError as error:
            return error

    outcome = guarded(make, f"the options of task {name!r}", schema.__module__)
    made = outcome.value
    if made is None:
        raise PluginError(f"the options of task {name!r} cannot be made: {shown(outcome.fault, 120)}")
    if isinstance(made, ValidationError):
        first = made.errors(include_url=False, include_context=False, include_input=False)[0]
        fact = clean(first["msg"], 80)
        if not first["loc"]:
            raise InputError(f"{name}: the options do not go together; {fact}")
        key = str(first["loc"][0])
        raise InputError(f"{name}: option {shown(key, 40)} is {told(own.get(key))}; {fact}")
    return made


_RANGES: Mapping[str, tuple[type, float, float]] = {
    "do_sample": (bool, 0, 1),
    "temperature": (float, 1e-3, 100),
    "top_p": (float, 1e-6, 1),
    "top_k": (int, 0, 10**6),
    "repetition_penalty": (float, 0.1, 10),
    "max_new_tokens": (int, 1, 10**6),
    "seed": (int, 0, 2**63 - 1),
}
MOST_STOPS, MOST_STOP_CHARS = 16, 256


def sampling_of(given: Mapping[str, Any], max_new_tokens: int) -> Sampling:
    """How to choose tokens; at most `max_new_tokens` of them, which is also the default; None is an option's own."""
    known = {field.name for field in fields(Sampling)}
    checked: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise InputError(f"unknown option {shown(repr(key), 40)}; ask() takes {_named(known)}")
        if value is not None:
            checked[key] = _stops(value) if key == "stop_strings" else _in_range(key, value)
    limit = min(checked.get("max_new_tokens", max_new_tokens), max_new_tokens)
    return Sampling(**{**checked, "max_new_tokens": limit})


def _stops(value: Any) -> tuple[str, ...]:
    """One stop string or a list of them."""
    stops = [value] if isinstance(value, str) else listed(value, "stop_strings")
    if len(stops) > MOST_STOPS:
        raise InputError(f"{len(stops)} stop_strings are too many; at most {MOST_STOPS} are taken")
    for k, stop in enumerate(stops):
        if type(stop) is not str or not 0 < len(stop) <= MOST_STOP_CHARS:
            fact = f"has {len(stop)} characters" if type(stop) is str else f"is {told(stop)}"
            raise InputError(f"stop_strings[{k}] {fact}; it must be a str of 1 to {MOST_STOP_CHARS} characters")
    return tuple(dict.fromkeys(stops))


@dataclass(frozen=True)
class Asking:
    """How a free request is answered: what may be routed, each task's options, how tokens are chosen."""

    tasks: tuple[str, ...]
    asked: TaskOptions
    sampling: Sampling

    @classmethod
    def of(
        cls,
        table: TaskTable,
        limits: Limits,
        *,
        threshold: float | None,
        max_objects: int,
        tasks: Sequence[str] | None,
        sampling: Mapping[str, Any],
    ) -> Asking:
        """Checked, or an `InputError` that names the option."""
        allowed = allowed_tasks(table, tasks)
        check_threshold(threshold)
        chosen = sampling_of(sampling, limits.new_tokens)
        given = {"threshold": threshold, "max_objects": max_objects, "seed": sampling.get("seed")}
        asked = TaskOptions.of_sound(table, allowed, given)
        return cls(tuple(asked.of_task), asked, chosen)


def _in_range(key: str, value: Any) -> bool | int | float:
    kind, low, high = _RANGES[key]
    fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits or not low <= value <= high:
        wanted = "True or False" if kind is bool else f"a {_KINDS[kind]} from {low:g} to {high:g}"
        raise InputError(f"option {key} is {told(value)}; it must be {wanted}")
    converted: bool | int | float = kind(value)
    return converted


_KINDS: Mapping[type, str] = {int: "whole number", float: "number"}


def _named(names: set[str]) -> str:
    return shown(", ".join(sorted(names)) or "none")
