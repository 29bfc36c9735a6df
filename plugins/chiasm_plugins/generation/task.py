"""What generation declares. No torch here: it enters with the decoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Annotated

from chiasm_registry import CoreInfo, Decoder, Picture, Sample, Task, TaskSpec, hookimpl
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from .targets import PictureTarget


class GenerationOptions(BaseModel):
    """What a caller may set; None leaves it to the decoder."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    steps: Annotated[int, Field(ge=1, le=1000)] | None = None  # of the sampler
    guidance: Annotated[float, Field(ge=0.0, le=30.0)] | None = None  # 1 is none; larger: more of what was asked
    size: Annotated[int, Field(ge=32, le=2048)] | None = None  # pixels a side
    on_step: Callable[[int, int], None] | None = None  # called behind each step with (done, steps)


def _phrasings() -> tuple[str, ...]:
    """How people ask for pictures: the lines of `phrasings.txt` that are no comments."""
    text = files(__package__).joinpath("phrasings.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))


class Generation(Task):
    """Pictures drawn from words."""

    spec = TaskSpec(
        name="generation",
        token="[GEN]",
        embeddings=4,
        output=Picture,
        options=GenerationOptions,
        summary="a picture of what a phrase says",
        needs_image=False,
        phrasings=_phrasings(),
    )

    def decoder(self, core: CoreInfo) -> Decoder:
        """A fresh `GenerationDecoder`."""
        from .decoder import GenerationDecoder

        return GenerationDecoder(core)

    def targets(self, sample: Sample) -> Sequence[PictureTarget]:
        """A `PictureTarget` for each phrase."""
        from .targets import picture_targets

        return picture_targets(sample)


@hookimpl
def chiasm_tasks() -> Sequence[Task]:
    """The plugin's one task."""
    return [Generation()]
