"""What detection declares. No torch here: it enters with the decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from chiasm_registry import Boxes, CoreInfo, Decoder, Sample, Task, TaskSpec, hookimpl
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from .targets import BoxTarget


class DetectionOptions(BaseModel):
    """What a caller may set; the threshold is on `ScoredBox.score` and was chosen on validation photographs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    threshold: Annotated[float, Field(ge=0.0, le=1.0)] = 0.26
    max_objects: Annotated[int, Field(ge=1, le=1000)] = 100


class Detection(Task):
    """Open-vocabulary boxes."""

    spec = TaskSpec(
        name="detection",
        token="[DET]",
        embeddings=4,
        output=Boxes,
        options=DetectionOptions,
        summary="boxes of everything a phrase means",
        phrasings=("Find {names}.", "Where is {names}?"),
    )

    def decoder(self, core: CoreInfo) -> Decoder:
        """A fresh `DetectionDecoder`."""
        from .decoder import DetectionDecoder

        return DetectionDecoder(core)

    def targets(self, sample: Sample) -> Sequence[BoxTarget]:
        """A `BoxTarget` for each phrase."""
        from .targets import box_targets

        return box_targets(sample)


@hookimpl
def chiasm_tasks() -> Sequence[Task]:
    """The plugin's one task."""
    return [Detection()]
