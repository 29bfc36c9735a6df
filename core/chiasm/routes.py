"""Routes: what was said of a phrase, with the slots behind each of its tasks, ready to be dispatched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from chiasm_registry import Route, TaskTable
from chiasm_registry.outputs import Notice
from torch import Tensor

from .options import TaskOptions
from .requests import Asked
from .routing.generate import Spoken
from .routing.network import Network
from .routing.reading import Heard


def routable(table: TaskTable, tasks: Sequence[str], untrained: Collection[str], seeing: bool) -> list[str]:
    """Of the allowed tasks those that have learned when to be said and, without an image, need none."""
    trained = [task for task in tasks if task not in untrained and table.by_name(task).spec.learns]
    return [task for task in trained if seeing or not table.by_name(task).spec.needs_image]


def sayable(table: TaskTable, network: Network, asked: Sequence[str], untrained: Collection[str]) -> list[str]:
    """The tasks whose tokens an answer may hold: those asked for, and all that the model learned to speak with.

    What it means it has to say, wherever that may go: a model that could not would be driven to another task.
    """
    grown = [task for task in network.rows.grown() if task not in untrained]
    return [*dict.fromkeys([*routable(table, asked, untrained, seeing=True), *grown])]


def guided_routes(
    network: Network,
    tasks: Sequence[str],
    things: Sequence[Asked],
    said: Mapping[str, Mapping[str, Tensor]],
    asked: TaskOptions,
) -> list[Route]:
    """One for each thing and task; `said` holds each phrase's slots (K, D) by task."""
    return [
        _route(network, task, thing, said[thing.phrase][task] if thing.phrase else None, asked)
        for thing in things
        for task in tasks
    ]


def heard_routes(network: Network, answer: Spoken, heard: Sequence[Heard], asked: TaskOptions) -> list[Route]:
    """Routes of what was `heard` in a spoken answer; slots that are still to come are not there."""
    routes = []
    for one in heard:
        slots = answer.hidden[one.first_slot : one.first_slot + len(network.rows.slot_ids(one.task))]
        routes.append(_route(network, one.task, Asked(one.phrase), slots, asked, one.span))
    return routes


def wanted(table: TaskTable, heard: Sequence[Heard], asked: TaskOptions, seeing: bool) -> list[Heard]:
    """What was said of tasks that were asked for and have what they need; of others it goes nowhere."""
    return [one for one in heard if not _why_not(table, one.task, asked, seeing)]


def unwanted(table: TaskTable, heard: Sequence[Heard], asked: TaskOptions, seeing: bool) -> list[Notice]:
    """A notice for each task that was meant and could not be routed to."""
    meant = Counter(one.task for one in heard)
    why = {task: _why_not(table, task, asked, seeing) for task in meant}
    return [
        Notice(text=f"{count} {_PHRASES[count > 1]} meant for task {task!r}, {why[task]}", task=task)
        for task, count in meant.items()
        if why[task]
    ]


_PHRASES = ("phrase was", "phrases were")


def _why_not(table: TaskTable, task: str, asked: TaskOptions, seeing: bool) -> str:
    if task in asked.of_task:
        return "" if seeing or not table.by_name(task).spec.needs_image else "which needs an image"
    return "which was not asked for" if task in table.tasks else "which is not loaded"


def chains(table: TaskTable, tasks: Sequence[str]) -> list[tuple[str, ...]]:
    """The tasks' tokens as they stand behind a phrase: each behind those of `tasks` that it comes `after`, no others.

    So what is asked beside a task changes nothing of what it hears. Each task's own road begins some chain.
    """
    found: list[tuple[str, ...]] = []
    for road in sorted((road_to(table, tasks, task) for task in tasks), key=len, reverse=True):
        if not any(chain[: len(road)] == road for chain in found):
            found.append(road)
    return found


def in_turn(table: TaskTable, tasks: Sequence[str]) -> tuple[str, ...]:
    """The tasks in their order, but each behind those that it comes `after`."""
    return tuple(dict.fromkeys(name for task in tasks for name in road_to(table, tasks, task)))


def road_to(table: TaskTable, tasks: Sequence[str], task: str) -> tuple[str, ...]:
    """The task behind those of `tasks` that it comes `after`, and those that they come after."""
    before = [road_to(table, tasks, first) for first in table.by_name(task).spec.after if first in tasks]
    return tuple(dict.fromkeys([*(name for road in before for name in road), task]))


def _route(
    network: Network,
    task: str,
    thing: Asked,
    slots: Tensor | None,
    asked: TaskOptions,
    span: tuple[int, int] | None = None,
) -> Route:
    """One route; without a phrase nothing was said, and its slots are the task's embeddings as they are."""
    own = network.rows.row(task).vectors.detach()
    return Route(
        task=task,
        phrase=thing.phrase,
        slots=own if slots is None else slots,
        embeddings=own,
        span=span,
        boxes=thing.boxes,
        points=thing.points,
        options=asked.of_task[task],
    )
