"""[ODET]: boxes by a Grounding DINO of transformers, which reads the phrase itself and has no use for slots."""

import os
from collections.abc import Sequence

from chiasm_registry import Boxes, CoreInfo, Decoder, Task, TaskSpec, hookimpl
from pydantic import BaseModel, ConfigDict, Field

FOLDER = "CHIASM_OPEN_DETECTOR"  # the environment variable that names the folder for the installed plugin


class OpenDetectorOptions(BaseModel):
    """What a caller may set."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    threshold: float = Field(default=0.3, ge=0, le=1)
    max_objects: int = Field(default=100, ge=1, le=900)


class OpenDetector(Task):
    """The folder is asked of the environment when a model is loaded."""

    spec = TaskSpec(
        name="open_detector",
        token="[ODET]",
        embeddings=1,
        output=Boxes,
        options=OpenDetectorOptions,
        summary="boxes by Grounding DINO, which knows many more names",
        learns=False,
    )

    def decoder(self, core: CoreInfo) -> Decoder:
        from .decoder import GroundingDecoder

        return GroundingDecoder(os.environ.get(FOLDER))


@hookimpl
def chiasm_tasks() -> Sequence[Task]:
    return [OpenDetector()]
