"""A task by its own metric: every photograph is asked, guided, for the names that are in it, and for some that are not.

What a task counts as right is its own affair (`Task.metric`); here it only gets outputs and targets, image by image,
in pixels of the photographs. Names that stand on crowds alone are not asked.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from chiasm_registry import Metric, PluginError, Sample, SampleObject, Task
from chiasm_registry.errors import InputError, shown
from chiasm_registry.geometry import xywh_to_xyxy
from chiasm_registry.guard import guarded

from .coco import CocoAnnotation, CocoSet
from .photos import find_photos, open_photo
from .requests import names_in_images

if TYPE_CHECKING:
    from ..model import Model


@dataclass(frozen=True)
class OwnPlan:
    """What is asked: `absent` more names an image that are not in it, the same ones in every run."""

    truth: CocoSet
    images: Path
    limit: int | None = None
    absent: int = 0
    skip_missing: bool = False


def measure_own(
    plan: OwnPlan, model: Model, task: Task, advance: Callable[[int], None] = lambda images: None
) -> dict[str, Any]:
    """The figures of the task's metric, as `chiasm eval --task` prints them; faults of the task are a PluginError."""
    name, home = task.spec.name, type(task).__module__
    metric = task.metric()
    if metric is None:
        raise InputError(f"task {name!r} has no metric of its own")
    chosen = {image.id for image in plan.truth.images[: plan.limit]}
    photos, faults = find_photos(plan.truth.only_images(chosen), plan.images, skip_missing=plan.skip_missing)
    samples = dict(_samples(plan))
    asked = unanswered = 0
    for photo in photos:
        sample = samples[photo.image.id]
        advance(1)
        if not sample.phrases:
            continue
        if (picture := open_photo(photo, faults, skip_missing=plan.skip_missing)) is None:
            continue
        result = model.run(name, picture, sample.phrases)
        answers = {output.phrase: output for output in result.outputs.get(name, ())}
        asked, unanswered = asked + len(sample.phrases), unanswered + len(sample.phrases) - len(answers)

        def update(sample: Sample = sample, answers: Mapping[str, Any] = answers) -> None:
            pairs = [(answers[p], t) for p, t in zip(sample.phrases, task.targets(sample), strict=True) if p in answers]
            metric.update([output for output, _ in pairs], [target for _, target in pairs])

        _or_blame(guarded(update, f"the metric of task {name!r}", home).fault, name)
    figures = _figures(metric, name, home)
    counts = {"images": len(chosen) - len(faults), "asked": asked, "unanswered": unanswered, "skipped": len(faults)}
    return {"mode": "own", "task": name, **counts, "metric": figures}


def as_lines(report: Mapping[str, Any]) -> list[str]:
    """The report for a person."""
    head = f"{report['task']}: {report['asked']} phrases asked of {report['images']} images"
    failed = [f"{report['unanswered']} phrases got no answer"] if report["unanswered"] else []
    figures = {shown(key, 60): value for key, value in report["metric"].items()}
    width = max(map(len, figures), default=0)
    return [head, *failed, *(f"  {key:<{width}}  {value:.4g}" for key, value in figures.items())]


def _figures(metric: Metric, name: str, home: str) -> dict[str, float]:
    """What the metric makes of it all, in numbers that JSON has."""
    made = guarded(
        lambda: {str(key): float(value) for key, value in metric.compute().items()},
        f"the metric of task {name!r}", home,
    )
    _or_blame(made.fault, name)
    figures = made.value or {}
    wrong = next((key for key, value in figures.items() if not math.isfinite(value)), None)
    if wrong is not None:
        fact = f"figure {shown(repr(wrong), 40)} of its metric is {figures[wrong]}; leave it out where it has no value"
        raise PluginError(f"task {name!r} cannot be measured: {fact}")
    return figures


def _or_blame(fault: str | None, name: str) -> None:
    if fault is not None:
        raise PluginError(f"task {name!r} cannot be measured: {shown(fault, 150)}")


def _samples(plan: OwnPlan) -> Iterator[tuple[int, Sample]]:
    """What stands in each image, and which names are asked of it."""
    names = {category.id: category.name for category in plan.truth.categories}
    by_image: dict[int, list[CocoAnnotation]] = defaultdict(list)
    for annotation in plan.truth.annotations:
        by_image[annotation.image_id].append(annotation)
    there = names_in_images(plan.truth)
    for image in plan.truth.images:
        absent = sorted(there[image.id].absent)
        more = Random(f"{image.id} absent").sample(absent, min(plan.absent, len(absent)))
        asked = (*sorted(there[image.id].present), *more)
        objects = tuple(
            SampleObject(names[one.category_id], xywh_to_xyxy(one.bbox_xywh), one.crowd) for one in by_image[image.id]
        )
        matches = tuple(tuple(k for k, thing in enumerate(objects) if thing.name == name) for name in asked)
        yield image.id, Sample(
            image_id=str(image.id), size_hw=image.size_hw, objects=objects, phrases=asked, matches=matches,
            meanings=tuple((name,) for name in asked),
        )
