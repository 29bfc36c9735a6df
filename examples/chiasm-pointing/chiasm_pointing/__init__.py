"""[POINT]: one point, with a score, in each thing that a phrase means."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from chiasm_registry import CoreInfo, Decoder, Metric, Points, Sample, Task, TaskSpec, hookimpl
from pydantic import BaseModel, ConfigDict, Field

HERE = Path(__file__).parent


class PointingOptions(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    threshold: float = Field(default=0.25, ge=0, le=1)
    max_objects: int = Field(default=100, ge=1, le=1000)


class Target(NamedTuple):
    """What a phrase should find: boxes, each with whether it is a crowd, which counts neither way; its one name."""

    things: list[tuple[tuple[float, float, float, float], bool]]
    name: str | None


class Pointing(Task):
    """Pointing, as Molmo made it popular, with scores in place of text."""

    spec = TaskSpec(
        name="pointing", token="[POINT]", embeddings=4, output=Points, options=PointingOptions,
        summary="one point in each thing a phrase means",
        phrasings=tuple((HERE / "phrasings.txt").read_text("utf-8").splitlines()),
    )  # fmt: skip

    def decoder(self, core: CoreInfo) -> Decoder:
        from .decoder import PointDecoder

        return PointDecoder(core)

    def targets(self, sample: Sample) -> Sequence[Target]:
        things = [(thing.box_xyxy, thing.crowd) for thing in sample.objects]
        return [
            Target([things[k] for k in matches], meaning[0] if len(meaning) == 1 else None)
            for matches, meaning in zip(sample.matches, sample.meanings, strict=True)
        ]

    def metric(self) -> Metric:
        from .metric import PointMetric

        return PointMetric()


@hookimpl
def chiasm_tasks() -> Sequence[Task]:
    return [Pointing()]
