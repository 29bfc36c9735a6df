"""The kit's rules, what counts as a hit, and that the weights in the package are those of nano."""

import chiasm
import numpy as np
from chiasm_pointing import Pointing, Target
from chiasm_pointing.metric import PointMetric
from chiasm_registry import Point, Points, ScoredPoint
from chiasm_registry.testing import TaskSuite


class TestPointing(TaskSuite):
    task = "pointing"


def points(*scored: tuple[float, float, float]) -> Points:
    return Points(items=tuple(ScoredPoint(point=Point(xy=(x, y)), score=score) for x, y, score in scored))


def test_a_point_counts_when_it_falls_into_an_object_that_is_free() -> None:
    metric = PointMetric()
    target = Target([((0, 0, 10, 10), False), ((20, 0, 30, 10), False), ((50, 50, 90, 90), True)], "cup")
    metric.update([points((5, 5, 0.9), (6, 6, 0.8), (25, 5, 0.3), (60, 60, 0.9))], [target])
    assert metric.compute() == {"f1": 0.8, "precision": 2 / 3, "recall": 1.0}


def test_the_package_brings_weights_for_nano() -> None:
    model = chiasm.load("nano")
    photograph = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    result = model.run("pointing", photograph, ["dog", "person"], threshold=0)
    assert [len(one.items) > 0 for one in result.outputs["pointing"]] == [True, True]
    assert "pointing" not in model.untrained
    assert sum(path.stat().st_size for path in Pointing().weights()) <= 2 * 2**20
