"""How well it points: a point counts when it falls into an object that no surer point has taken."""

from collections.abc import Mapping, Sequence
from typing import Any

from chiasm_registry import Points


class PointMetric:
    """Precision, recall and F1 over all phrases; in a crowd points count neither way."""

    def __init__(self) -> None:
        self.hits = self.points = self.things = 0

    def update(self, outputs: Sequence[Points], targets: Sequence[Any]) -> None:
        for output, target in zip(outputs, targets, strict=True):
            free = [box for box, crowd in target.things if not crowd]
            crowds = [box for box, crowd in target.things if crowd]
            self.things += len(free)
            for item in sorted(output.items, key=lambda one: -(one.score or 0)):
                hit = [box for box in free if inside(item.point.xy, box)]
                taken = min(hit, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]), default=None)
                if taken is not None:
                    free.remove(taken)
                    self.hits += 1
                elif any(inside(item.point.xy, box) for box in crowds):
                    continue
                self.points += 1

    def compute(self) -> Mapping[str, float]:
        precision, recall = self.hits / max(1, self.points), self.hits / max(1, self.things)
        return {"f1": 2 * self.hits / max(1, self.points + self.things), "precision": precision, "recall": recall}


def inside(xy: tuple[float, float], box_xyxy: tuple[float, float, float, float]) -> bool:
    return box_xyxy[0] <= xy[0] <= box_xyxy[2] and box_xyxy[1] <= xy[1] <= box_xyxy[3]
