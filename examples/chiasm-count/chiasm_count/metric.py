"""How well it counts: mean absolute error, and how often the truth lies in the interval."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import Count, Truth


class CountMetric:
    """Over all phrases; where a crowd stands, the truth is the number of those that are marked one by one."""

    def __init__(self) -> None:
        self.asked = self.inside = 0
        self.absolute = self.squared = 0.0

    def update(self, outputs: "Sequence[Count]", targets: "Sequence[Truth]") -> None:
        for output, target in zip(outputs, targets, strict=True):
            truth = len(target.middles)
            self.asked += 1
            self.inside += output.low <= truth <= output.high
            self.absolute += abs(output.count - truth)
            self.squared += (output.count - truth) ** 2

    def compute(self) -> Mapping[str, float]:
        asked = max(1, self.asked)
        return {"mae": self.absolute / asked, "rmse": (self.squared / asked) ** 0.5, "in_interval": self.inside / asked}
