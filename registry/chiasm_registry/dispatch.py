"""Routes -> decoders -> checked outputs or notices: the only place where a task's name chooses code.

A decoder sees copies of one image's maps and slots, never the core's own tensors; whatever it does wrong becomes a
notice for its routes, and the other routes' outputs are as if it had not run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from .check import check_answers, check_output
from .contract import Decoder, Route, Scene
from .guard import LOG, clean, fault_text, guarded
from .outputs import NOTICE_CHARS, Notice, Output
from .spec import TaskSpec
from .table import TaskTable

Answer = Output | Notice


def dispatch(
    table: TaskTable,
    decoders: Mapping[str, Decoder],
    scene: Scene,
    routes: Sequence[Route],
    *,
    max_items: int,
    time_limit_s: float | None,
    notices: list[Notice] | None = None,
    known: Mapping[int, Answer] | None = None,
) -> list[Answer]:
    """One output or notice a route, in order, for the routes of one image.

    Tasks run in the order that their `after` asks for, each in one call. `notices` collects what else there is to
    say: a decoder that was slow or that changed process-wide state; its outputs are kept. `known` are answers of
    routes, by their place, that were dispatched before: they are taken as they are.
    """
    answers: dict[int, Answer] = dict(known or {})
    for task in _in_order(table, [route for place, route in enumerate(routes) if place not in answers]):
        places = [place for place, route in enumerate(routes) if route.task == task and place not in answers]
        decoder = decoders.get(task)
        if decoder is None or task not in table.names:
            answers |= dict.fromkeys(places, _notice(task, "is not loaded, so this phrase has no output of it"))
            continue
        spec = table.by_name(task).spec
        asked = [_with_earlier(routes[place], spec, routes, answers) for place in places]
        answers |= zip(places, _decoded(spec, decoder, scene, asked, max_items, time_limit_s, notices), strict=True)
    return [answers[place] for place in range(len(routes))]


def _in_order(table: TaskTable, routes: Sequence[Route]) -> Iterator[str]:
    """The routes' tasks, each behind those of its `after` that are asked for too (a table has no circles)."""
    waiting = list(dict.fromkeys(route.task for route in routes))
    known = set(table.names)
    while waiting:
        task = next(t for t in waiting if t not in known or not set(table.by_name(t).spec.after) & set(waiting))
        waiting.remove(task)
        yield task


def _with_earlier(route: Route, spec: TaskSpec, routes: Sequence[Route], answers: Mapping[int, Answer]) -> Route:
    """The route with copies of what the tasks in `after` answered for its phrase, for the same mention if they did."""
    done = [(routes[place], answer) for place, answer in answers.items() if isinstance(answer, Output)]
    earlier = list(route.earlier)
    for task in spec.after:
        same = [(r, a) for r, a in done if (r.task, r.phrase, r.image) == (task, route.phrase, route.image)]
        mention = [(r, a) for r, a in same if r.span == route.span]
        earlier += [type(a).model_validate(a.model_dump(warnings=False)) for _, a in mention or same]
    return replace(route, earlier=tuple(earlier))


def _decoded(
    spec: TaskSpec,
    decoder: Decoder,
    scene: Scene,
    routes: Sequence[Route],
    max_items: int,
    time_limit_s: float | None,
    notices: list[Notice] | None,
) -> list[Answer]:
    import torch

    home = type(decoder).__module__
    size_hw = scene.size_hw if spec.needs_image else None

    def run() -> list[Answer]:
        found = decoder.decode(_copy_of_scene(scene, spec), [_copy_of_route(route) for route in routes])
        check = partial(check_output, schema=spec.output, size_hw=size_hw, max_items=max_items)
        pairs = zip(check_answers(found, len(routes)), routes, strict=True)
        return [_checked(partial(check, answer, phrase=route.phrase), spec.name, home) for answer, route in pairs]

    LOG.info("%s: %d phrases to %s.%s", spec.token, len(routes), home, type(decoder).__name__)
    with torch.no_grad():  # outside the guard, so that a decoder that switches gradients on is seen
        outcome = guarded(run, f"the decoder of task {spec.name!r}", home, time_limit_s)
    LOG.info("%s: %s in %.3f s", spec.token, outcome.fault or "answered", outcome.seconds)
    remarks = [f"changed the {', '.join(outcome.changed)}; put back"] if outcome.changed else []
    remarks += [f"left {outcome.left[0]} behind"] if outcome.left else []
    if time_limit_s is not None and outcome.seconds > time_limit_s:
        remarks.append(f"took {outcome.seconds:.1f} s, more than its limit of {time_limit_s:g} s")
    if notices is not None:
        notices += [_notice(spec.name, remark) for remark in remarks]
    if outcome.value is not None:
        return outcome.value
    scene.memo.pop(spec.name, None)  # it may be half made
    return [_notice(spec.name, f"failed: {outcome.fault}")] * len(routes)


def _checked(check: Callable[[], Output], task: str, home: str) -> Answer:
    try:
        return check()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return _notice(task, f"gave an answer that cannot be used: {fault_text(error, home)}")


def _copy_of_scene(scene: Scene, spec: TaskSpec) -> Scene:
    """The scene as one task may see it, and spoil it: its own tensors, its own memo, kept between calls."""
    return Scene(
        size_hw=scene.size_hw,
        maps=tuple(grid.detach().clone() for grid in scene.maps) if spec.needs_image else (),
        view=lambda size: scene.view(size).detach().clone(),
        memo=scene.memo.setdefault(spec.name, {}),
    )


def _copy_of_route(route: Route) -> Route:
    return replace(route, slots=route.slots.detach().clone(), embeddings=route.embeddings.detach().clone())


def _notice(task: str, text: str) -> Notice:
    return Notice(text=clean(f"task {task!r} {text}", NOTICE_CHARS), task=task)
