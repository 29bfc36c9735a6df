"""From checked outputs to a `Result`: objects in the order of the routes, notices in words, what was not found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chiasm_registry import Output, Route, Task
from chiasm_registry.outputs import Notice

from .images import OpenedImage
from .result import Object, Result


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
    outputs: dict[str, tuple[Output, ...]] = {}
    for route, answer in zip(routes, answers, strict=True):
        outputs.setdefault(route.task, ())
        if isinstance(answer, Output):
            outputs[route.task] += (answer,)
    said = [Notice(text=note) for note in image.notes] if image else []
    said += [*dict.fromkeys([*notices, *(answer for answer in answers if isinstance(answer, Notice))])]
    result = Result(
        source=image.name if image else None,
        size_hw=image.size_hw if image else None,
        text=text,
        objects=tuple(_best(_objects(routes, answers, tasks), max_objects)),
        outputs=outputs,
        notices=tuple(said),
        timings=dict(timings),
    )
    return result.remember(image.rgb, tasks) if image else result


def not_found(routes: Sequence[Route], answers: Sequence[Output | Notice]) -> str:
    """One sentence that names the phrases all of whose outputs are empty; "" if there are none."""
    by_phrase: dict[str, list[Output | Notice]] = {}
    for route, answer in zip(routes, answers, strict=True):
        by_phrase.setdefault(route.phrase, []).append(answer)
    missing = [p for p, given in by_phrase.items() if all(isinstance(a, Output) and a.is_empty() for a in given)]
    return f"Not found: {', '.join(missing)}." if missing else ""


def _objects(routes: Sequence[Route], answers: Sequence[Output | Notice], tasks: Mapping[str, Task]) -> list[Object]:
    """Every object of every output; a mask made for an earlier task's box completes that object."""
    objects: list[Object] = []
    of_mention: dict[tuple[str, str, tuple[int, int] | None], list[int]] = {}
    for route, answer in zip(routes, answers, strict=True):
        if not isinstance(answer, Output):
            continue
        earlier = [of_mention.get((name, route.phrase, route.span), []) for name in tasks[route.task].spec.after]
        first = next((places for places in earlier if places), [])
        own = of_mention.setdefault((route.task, route.phrase, route.span), [])
        for found in answer.found():
            if found.of is not None and found.of < len(first):
                place = first[found.of]
                objects[place] = objects[place].model_copy(update={"mask": found.mask})
                continue
            own.append(len(objects))
            objects.append(
                Object(
                    label=route.phrase,
                    score=found.score,
                    box=found.box,
                    mask=found.mask,
                    task=route.task,
                    span=route.span,
                )
            )
    return objects


def _best(objects: list[Object], limit: int) -> list[Object]:
    if len(objects) <= limit:
        return objects
    order = sorted(range(len(objects)), key=lambda k: -1.0 if (s := objects[k].score) is None else -s)
    return [objects[k] for k in sorted(order[:limit])]
