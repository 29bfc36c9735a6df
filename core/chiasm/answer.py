"""From checked outputs to a `Result`: objects in the order of the routes, notices in words, what was not found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from chiasm_registry import Found, Output, Route, Task
from chiasm_registry.dispatch import dispatch
from chiasm_registry.later import found_in, which_are_empty
from chiasm_registry.outputs import Notice

from .images import OpenedImage
from .options import TaskOptions
from .requests import Clock
from .result import Object, Result
from .routing.generate import Spoken
from .scene import Look, no_scene

if TYPE_CHECKING:
    from .model import Model

UNNAMED = "object"  # the label of what was pointed at without a name
Answer = Output | Notice


def decoded(
    model: Model,
    look: Look | None,
    routes: Sequence[Route],
    notices: list[Notice],
    known: Mapping[int, Answer] | None = None,
) -> list[Answer]:
    """One answer a route of one image, in order; those that are `known`, by place, are not asked for again."""
    return dispatch(
        model.table,
        dict(model.network.decoders.items()),  # type: ignore[arg-type]  # each is a Decoder
        look.scene if look else no_scene(model.network),
        routes,
        max_items=model.limits.items,
        time_limit_s=model.limits.decode_s,
        notices=notices,
        known=known,
    )


def answered(
    model: Model,
    look: Look | None,
    spoken: Spoken | None,
    routes: Sequence[Route],
    asked: TaskOptions,
    clock: Clock,
    *,
    known: Mapping[int, Answer] | None = None,
    notices: Sequence[Notice] = (),
) -> Result:
    """Dispatch one image's routes and make its result; what was `spoken` freely ends with what was not found."""
    said = [*asked.left_out, *notices]
    with clock("decode"):
        answers = decoded(model, look, routes, said, known)
    for name in sorted({route.task for route in routes} & model.untrained):
        said.append(Notice(text=f"task {name!r} is untrained: this checkpoint has no weights for it", task=name))
    text = [spoken.text if spoken else ""]
    if spoken and spoken.text and not spoken.stopped:
        text.append(not_found(routes, answers))
    return make_result(
        look.image if look else None,
        " ".join(filter(None, text)),
        routes,
        answers,
        notices=said,
        tasks=model.table.tasks,
        max_objects=asked.max_objects,
        timings=clock.seconds,
    )


def make_result(
    image: OpenedImage | None,
    text: str,
    routes: Sequence[Route],
    answers: Sequence[Output | Notice],
    *,
    notices: Sequence[Notice],
    tasks: Mapping[str, Task],
    max_objects: int,
    timings: Mapping[str, float],
) -> Result:
    """One image's result; `answers` stand in the order of `routes`. At most `max_objects` objects, the best of all."""
    outputs: dict[str, list[Output]] = {route.task: [] for route in routes}
    for route, answer in zip(routes, answers, strict=True):
        if isinstance(answer, Output):
            outputs[route.task].append(answer)
    said = [Notice(text=note) for note in image.notes] if image else []
    said += [*dict.fromkeys([*notices, *(answer for answer in answers if isinstance(answer, Notice))])]
    result = Result(
        source=image.source if image else None,
        size_hw=image.size_hw if image else None,
        text=text,
        objects=_objects(routes, answers, tasks, max_objects),
        outputs={name: tuple(given) for name, given in outputs.items()},
        notices=tuple(said),
        timings=dict(timings),
    )
    return result.remember(image.rgb, tasks) if image else result


def not_found(routes: Sequence[Route], answers: Sequence[Output | Notice]) -> str:
    """One sentence that names the phrases all of whose outputs are empty; "" if there are none."""
    empty = iter(which_are_empty([answer for answer in answers if isinstance(answer, Output)]))
    says_so: dict[str, list[bool]] = {}
    for route, answer in zip(routes, answers, strict=True):
        says_so.setdefault(route.phrase, []).append(isinstance(answer, Output) and next(empty))
    missing = [phrase for phrase, given in says_so.items() if all(given)]
    return f"Not found: {', '.join(missing)}." if missing else ""


def _objects(
    routes: Sequence[Route], answers: Sequence[Output | Notice], tasks: Mapping[str, Task], limit: int
) -> tuple[Object, ...]:
    """The best `limit` objects of all outputs, in the order of the routes; no score counts as the best."""
    drafts = _drafts(routes, answers, tasks)
    best = sorted(range(len(drafts)), key=lambda k: -1.0 if (s := drafts[k][1].score) is None else -s)[:limit]
    return tuple(_object(*drafts[k]) for k in sorted(best))


def _drafts(
    routes: Sequence[Route], answers: Sequence[Output | Notice], tasks: Mapping[str, Task]
) -> list[tuple[Route, Found]]:
    """Everything found; a mask made for an earlier task's box completes what was found there."""
    drafts: list[tuple[Route, Found]] = []
    found_by = iter(found_in([answer for answer in answers if isinstance(answer, Output)]))
    of_mention: dict[tuple[str, str, tuple[int, int] | None], list[int]] = {}
    for route, answer in zip(routes, answers, strict=True):
        if not isinstance(answer, Output):
            continue
        earlier = [of_mention.get((name, route.phrase, route.span), []) for name in tasks[route.task].spec.after]
        first = next((places for places in earlier if places), [])
        own = of_mention.setdefault((route.task, route.phrase, route.span), [])
        for found in next(found_by):
            if found.of is not None and found.of < len(first):
                before, box = drafts[first[found.of]]
                drafts[first[found.of]] = before, box._replace(mask=found.mask)
                continue
            own.append(len(drafts))
            drafts.append((route, found))
    return drafts


def _object(route: Route, found: Found) -> Object:
    score, box, mask, _ = found
    return Object(label=route.phrase or UNNAMED, score=score, box=box, mask=mask, task=route.task, span=route.span)
