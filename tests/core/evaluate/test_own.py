"""A task by its own metric: it gets each photograph's names, outputs and targets, in pixels of the photograph."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from chiasm.evaluate.coco import read_coco
from chiasm.evaluate.own import OwnPlan, as_lines, measure_own
from chiasm.evaluate.photos import find_photos
from chiasm_registry import ChiasmError, Metric, Sample
from core.tiny import LevelTask, tiny_model
from core.train.test_build import data as data
from PIL import Image


class Seen:
    """Remembers what it is given."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, Any]] = []

    def update(self, outputs: Sequence[Any], targets: Sequence[Any]) -> None:
        self.rows += zip(outputs, targets, strict=True)

    def compute(self) -> Mapping[str, float]:
        return {"rows": len(self.rows), "boxes": sum(len(target) for _, target in self.rows)}


class Measured(LevelTask):
    def __init__(self) -> None:
        self.seen = Seen()

    def targets(self, sample: Sample) -> Sequence[Any]:
        return [[sample.objects[k].box_xyxy for k in matches] for matches in sample.matches]

    def metric(self) -> Metric | None:
        return self.seen


def plan(data: Path, **more: Any) -> OwnPlan:
    return OwnPlan(read_coco(data / "train.json"), data, **more)


def test_each_photograph_is_asked_the_names_in_it(data: Path) -> None:
    task = Measured()
    report = measure_own(plan(data), tiny_model([task]), task)
    assert report["asked"] == 4  # a dog and a cup, a cup, a cat
    assert report["metric"] == {"rows": 4.0, "boxes": 4.0}
    assert [output.phrase for output, _ in task.seen.rows] == ["cup", "dog", "cup", "cat"]
    assert task.seen.rows[0][1] == [(10.0, 4.0, 40.0, 44.0)]
    assert "level: 4 phrases asked of 3 images" in as_lines(report)[0]


def test_absent_names_are_asked_too_and_the_same_ones_again(data: Path) -> None:
    tasks = [Measured(), Measured()]
    for task in tasks:
        assert measure_own(plan(data, absent=1, limit=2), tiny_model([task]), task)["asked"] == 5
    one, other = ([output.phrase for output, _ in task.seen.rows] for task in tasks)
    assert one == other
    assert [target for _, target in tasks[0].seen.rows].count([]) == 2


def test_a_photograph_whose_pixels_are_torn_is_passed_over_where_that_is_asked_for(
    data: Path, tmp_path: Path
) -> None:
    data = Path(shutil.copytree(data, tmp_path / "data"))
    truth = plan(data).truth
    torn = data / str(truth.images[0].file_name)
    whole = io.BytesIO()
    Image.open(torn).convert("RGB").save(whole, "JPEG")
    torn.write_bytes(whole.getvalue()[:-40])
    assert len(find_photos(truth, data)[0]) == len(truth.images)  # its header is well
    with pytest.raises(ChiasmError, match=torn.name):
        measure_own(plan(data), tiny_model([Measured()]), Measured())
    task = Measured()
    report = measure_own(plan(data, skip_missing=True), tiny_model([task]), task)
    assert (report["images"], report["skipped"]) == (len(truth.images) - 1, 1)
    assert report["asked"] == report["metric"]["rows"] == 2.0


def test_a_metric_that_breaks_is_named_in_one_line(data: Path) -> None:
    task = Measured()
    task.seen.update = None  # type: ignore[method-assign,assignment]
    with pytest.raises(ChiasmError, match="task 'level' cannot be measured: TypeError") as caught:
        measure_own(plan(data), tiny_model([task]), task)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "much"])
def test_a_figure_that_is_no_number_is_named(data: Path, value: Any) -> None:
    """JSON has none, and a reader would take it for one."""
    task = Measured()
    task.seen.compute = lambda: {"rows": 1, "share\x1b": value}  # type: ignore[method-assign]
    fact = "ValueError" if value == "much" else r"figure 'share\\x1b' of its metric is "
    with pytest.raises(ChiasmError, match=f"task 'level' cannot be measured: {fact}") as caught:
        measure_own(plan(data), tiny_model([task]), task)
    assert str(caught.value).isprintable()


def test_a_task_without_a_metric_is_refused(data: Path) -> None:
    with pytest.raises(ChiasmError, match="has no metric of its own"):
        measure_own(plan(data), tiny_model([LevelTask()]), LevelTask())
