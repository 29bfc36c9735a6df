"""What a caller may set, checked against the schemas that tasks declare; an unknown option is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from chiasm_registry import InputError, TaskTable
from chiasm_registry.errors import shown
from pydantic import BaseModel, ValidationError

from .routing.generate import Sampling

MAX_OBJECTS = 100  # of one image, when the caller says nothing


@dataclass(frozen=True)
class TaskOptions:
    """Each task's own options, and how many objects a result may hold."""

    of_task: Mapping[str, BaseModel]
    max_objects: int = MAX_OBJECTS

    @classmethod
    def shared(cls, table: TaskTable, names: Sequence[str], given: Mapping[str, Any]) -> TaskOptions:
        """The same options for several tasks: each takes those it declares; one that none declares is refused."""
        known = {key for name in names for key in table.by_name(name).spec.options.model_fields}
        for key in given:
            if key not in known:
                raise InputError(f"unknown option {shown(repr(key), 40)}; {' and '.join(names)} take {_listed(known)}")
        of_task = {name: task_options(table, name, given) for name in names}
        limit = given.get("max_objects")
        return cls(of_task, MAX_OBJECTS if limit is None else limit)


def task_names(table: TaskTable, task: str | Sequence[str]) -> tuple[str, ...]:
    """The tasks of a guided request: at least one, each loaded, each once."""
    names = (task,) if isinstance(task, str) else tuple(task)
    for name in names:
        _loaded(table, name)
    if len(set(names)) != len(names) or not names:
        raise InputError(f"tasks must name each task once, not {shown(list(names))}")
    return names


def allowed_tasks(table: TaskTable, tasks: Sequence[str] | None) -> tuple[str, ...]:
    """The tasks that an answer may route to; None is all that are loaded."""
    if tasks is None:
        return tuple(table.tasks)
    if isinstance(tasks, str):
        raise InputError(f"tasks must be a list of names; for one task write [{shown(repr(tasks), 40)}]")
    return tuple(_loaded(table, name) for name in tasks)


def refuse_without_image(table: TaskTable, names: Sequence[str]) -> None:
    """Raise for a task that cannot do without an image."""
    for name in names:
        if table.by_name(name).spec.needs_image:
            raise InputError(f"task {name!r} needs an image; give one in place of None")


def _loaded(table: TaskTable, name: object) -> str:
    if not isinstance(name, str) or name not in table.tasks:
        raise InputError(f"no task {shown(repr(name), 40)} is loaded; loaded: {', '.join(table.tasks) or 'none'}")
    return name


def task_options(table: TaskTable, name: str, given: Mapping[str, Any]) -> BaseModel:
    """The task's options with what of `given` it declares; None means its own default."""
    schema = table.by_name(name).spec.options
    own = {key: value for key, value in given.items() if key in schema.model_fields and value is not None}
    own = {key: float(value) if type(value) is int and key == "threshold" else value for key, value in own.items()}
    try:
        return schema(**own)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key, fact = str(first["loc"][0]) if first["loc"] else "options", first["msg"]
        raise InputError(
            f"{name}: option {shown(key, 40)} is {shown(repr(own.get(key)), 40)}; {shown(fact, 80)}"
        ) from None


_RANGES: Mapping[str, tuple[type | tuple[type, ...], float, float]] = {
    "do_sample": (bool, 0, 1),
    "temperature": ((int, float), 1e-3, 100),
    "top_p": ((int, float), 1e-6, 1),
    "top_k": (int, 0, 10**6),
    "repetition_penalty": ((int, float), 0.1, 10),
    "max_new_tokens": (int, 1, 10**6),
    "seed": (int, 0, 2**63 - 1),
}


def sampling_of(given: Mapping[str, Any], max_new_tokens: int) -> Sampling:
    """How to choose tokens; at most `max_new_tokens` of them, which is also the default."""
    known = {field.name for field in fields(Sampling)}
    for key, value in given.items():
        if key not in known:
            raise InputError(f"unknown option {shown(repr(key), 40)}; ask() takes {_listed(known)}")
        kind, low, high = _RANGES[key]
        wrong = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
        if wrong or not low <= value <= high:
            raise InputError(f"option {key} is {shown(repr(value), 40)}; it must lie in {low:g}..{high:g}")
    limit = min(given.get("max_new_tokens", max_new_tokens), max_new_tokens)
    return Sampling(**{**given, "max_new_tokens": limit})


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"
