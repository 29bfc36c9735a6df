"""What segmentation declares. No torch here: it enters with the decoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from chiasm_registry import CoreInfo, Decoder, Masks, Sample, Task, TaskSpec, hookimpl
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from .targets import MaskTarget


class SegmentationOptions(BaseModel):
    """What a caller may set.

    `threshold` is on `ScoredMask.score` of a phrase that is asked for alone; masks of boxes and points are always
    given. `multimask` returns three masks of each prompt, as an ambiguous click may mean a part or the whole.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    threshold: Annotated[float, Field(ge=0.0, le=1.0)] = 0.3
    multimask: bool = False
    max_objects: Annotated[int, Field(ge=1, le=1000)] = 100


def _phrasings() -> tuple[str, ...]:
    """The packaged templates; a plain text file, as reading YAML would take longer than all the rest of discovery."""
    text = Path(__file__).with_name("phrasings.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))


class Segmentation(Task):
    """Masks by phrase, box or point."""

    spec = TaskSpec(
        name="segmentation",
        token="[SEG]",
        embeddings=4,
        output=Masks,
        options=SegmentationOptions,
        after=("detection",),
        summary="masks of everything a phrase means, of boxes, of points",
        phrasings=_phrasings(),
    )

    def decoder(self, core: CoreInfo) -> Decoder:
        """A fresh `SegmentationDecoder`."""
        from .decoder import SegmentationDecoder

        return SegmentationDecoder(core)

    def targets(self, sample: Sample) -> Sequence[MaskTarget]:
        """A `MaskTarget` for each phrase."""
        from .targets import mask_targets

        return mask_targets(sample)


@hookimpl
def chiasm_tasks() -> Sequence[Task]:
    """The plugin's one task."""
    return [Segmentation()]
