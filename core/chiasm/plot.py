"""A result as a picture: a task may draw its own outputs, everything else is drawn from objects and ready kinds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from chiasm_registry.outputs import Output, Points

from .drawing.canvas import Canvas

if TYPE_CHECKING:
    from chiasm_registry.task import Task
    from PIL import Image

    from .result import Object, Result


def plot_result(result: Result, image: Image.Image, tasks: Mapping[str, Task] | None = None) -> Image.Image:
    """A copy of `image` with the result on it; `tasks` may draw their outputs themselves."""
    canvas = Canvas(image, result.labels)
    drawn = _drawn_by_tasks(result, canvas, tasks or {})
    for thing in sorted(result.objects, key=lambda o: -(o.score if o.score is not None else 1.0)):
        if (thing.task, thing.label) not in drawn:
            _draw_object(canvas, thing)
    for task, outputs in result.outputs.items():
        for output in outputs:
            if isinstance(output, Points) and (task, output.phrase) not in drawn:
                for item in output.items:
                    canvas.point(*item.point.xy, output.phrase, item.score)
    return canvas.picture()


def _draw_object(canvas: Canvas, thing: Object) -> None:
    if thing.mask is not None:
        canvas.mask(thing.mask, thing.label, thing.score, thing.box)
    elif thing.box is not None:
        canvas.box(thing.box.xyxy, thing.label, thing.score)


def _draw(task: Task, output: Output, canvas: Canvas) -> bool:
    """The task's own drawing of a copy of its output."""
    return task.draw(canvas, output.model_copy(deep=True))


def _drawn_by_tasks(result: Result, canvas: Canvas, tasks: Mapping[str, Task]) -> set[tuple[str, str]]:
    """The (task, phrase) pairs that a task drew; one that fails is drawn by core, and leaves no half of a drawing."""
    drawn = set()
    for name, outputs in result.outputs.items():
        for output in outputs:
            if name not in tasks:
                continue
            draw, what = partial(_draw, tasks[name], output), f"draw() of task {name!r}"
            if canvas.attempt(draw, what, type(tasks[name]).__module__):
                drawn.add((name, output.phrase))
    return drawn
