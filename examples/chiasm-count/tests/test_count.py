"""The kit's rules, what the metric counts, and that the weights in the package are those of nano."""

import chiasm
import numpy as np
from chiasm_count import Count, Counting, Truth
from chiasm_count.metric import CountMetric
from chiasm_registry.testing import TaskSuite


class TestCount(TaskSuite):
    task = "count"


def test_errors_and_intervals_are_counted() -> None:
    metric = CountMetric()
    outputs = [Count(count=n, low=n - 1, high=n + 1, density=((float(n),),)) for n in (3, 5)]
    metric.update(outputs, [Truth([(0.5, 0.5)] * 4, True, "cup"), Truth([(0.5, 0.5)] * 8, True, "cup")])
    assert metric.compute() == {"mae": 2.0, "rmse": 5**0.5, "in_interval": 0.5}


def test_the_package_brings_weights_for_nano() -> None:
    model = chiasm.load("nano")
    photograph = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    result = model.run("count", photograph, ["dog", "person"])
    assert all(one.low <= one.count <= one.high for one in result.outputs["count"])
    assert result.plot().size == result.plot().size
    assert "count" not in model.untrained
    assert sum(path.stat().st_size for path in Counting().weights()) <= 2 * 2**20
