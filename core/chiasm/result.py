"""What a user gets for one image. Every coordinate is in pixels of the upright original image.

Made by `Model` and by `Result.from_json`, which refuses JSON that is damaged or of another format. A score that the
model did not give is None, never 1.0.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from chiasm_registry.errors import InputError
from chiasm_registry.geometry import Box, Mask
from chiasm_registry.later import which_are_empty
from chiasm_registry.outputs import Notice, Output, Picture, Score
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SerializeAsAny

if TYPE_CHECKING:
    import supervision
    from chiasm_registry.discovery import Catalog
    from chiasm_registry.task import Task
    from PIL import Image

    from .images.open import ImageSource

_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

Length = Annotated[int, Field(ge=1)]
Index = Annotated[int, Field(ge=0)]


class Object(BaseModel):
    """One thing in the image: `label` is the phrase to the letter ("object" where none was given), `span` its place."""

    model_config = _STRICT

    label: str
    score: Score | None = None
    box: Box | None = None
    mask: Mask | None = None
    task: str
    span: tuple[Index, Index] | None = None

    def place(self) -> Box | None:
        """Its box, or the tight box of its mask."""
        return self.box if self.box is not None or self.mask is None else self.mask.box()


class Result(BaseModel):
    """Everything said and shown for one image; `outputs` has one entry a route, empty ones included, by task."""

    model_config = _STRICT

    format: Literal["chiasm-result/1"] = "chiasm-result/1"
    source: str | None = None  # the file it came from, as the caller named it
    size_hw: tuple[Length, Length] | None = None  # None: no image was involved
    text: str = ""  # the answer without control tokens
    objects: tuple[Object, ...] = ()  # in the order of the routes, then by score
    outputs: Mapping[str, tuple[SerializeAsAny[Output], ...]] = Field(default_factory=dict)
    notices: tuple[Notice, ...] = ()
    timings: Mapping[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)  # seconds

    _image: Image.Image | None = PrivateAttr(None)
    _tasks: Mapping[str, Task] | None = PrivateAttr(None)

    def remember(self, image: Image.Image, tasks: Mapping[str, Task] | None = None) -> Result:
        """Keep the upright image, and the tasks that may draw, for `plot`, `save` and `crop`; not part of the JSON."""
        self._image, self._tasks = image, tasks
        return self

    def __eq__(self, other: object) -> bool:
        """Whether all that is in the JSON is the same; the remembered image does not count."""
        if not isinstance(other, Result):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in type(self).model_fields)

    @property
    def labels(self) -> tuple[str, ...]:
        """Every phrase once, in the order asked, those without an object included."""
        asked = [output.phrase for outputs in self.outputs.values() for output in outputs]
        return tuple(dict.fromkeys(label for label in [*asked, *(o.label for o in self.objects)] if label))

    @property
    def missing(self) -> tuple[str, ...]:
        """The phrases that were looked for and not found: every output they have is empty."""
        outputs = [output for outputs in self.outputs.values() for output in outputs if output.phrase]
        empty = zip(outputs, which_are_empty(outputs), strict=True)
        seen = {output.phrase for output, is_empty in empty if not is_empty}
        return tuple(dict.fromkeys(output.phrase for output in outputs if output.phrase not in seen))

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The pictures that were made, whatever task made them, in the order of the outputs."""
        outputs = [output for outputs in self.outputs.values() for output in outputs]
        return tuple(output for output in outputs if isinstance(output, Picture))

    def to_json(self, *, indent: int | None = None) -> str:
        """The result as JSON; masks are COCO run-length codes.

        An output whose class cannot write it is left out, and a notice says so.
        """
        from .result_json import write_result

        return write_result(self, indent)

    @classmethod
    def from_json(cls, text: str | bytes, *, catalog: Catalog | None = None) -> Result:
        """Read what `to_json` wrote; outputs get the classes of `catalog` (None: the installed tasks)."""
        from .result_json import read_result

        return read_result(text, catalog)

    def to_coco(self, image_id: int = 1, category_ids: Mapping[str, int] | None = None) -> list[dict[str, Any]]:
        """One COCO detection an object: `bbox` is xywh, a mask becomes `segmentation`, no score leaves `score` out.

        Without `category_ids` the labels are numbered from 1 in the order of `labels`; with them an object whose label
        is missing there is refused.
        """
        from .export import result_to_coco

        return result_to_coco(self, image_id, category_ids)

    def to_supervision(self) -> supervision.Detections:
        """A `supervision.Detections`: float64 `xyxy`, NaN where a score is unknown, names in `data["class_name"]`."""
        from .export import result_to_supervision

        return result_to_supervision(self)

    def plot(self, image: ImageSource | None = None) -> Image.Image:
        """The image with every object drawn on it, of the same size unless it is too small for tags to be read.

        `image` is anything a model takes; without it the remembered one is used.
        """
        from .plot import plot_result

        return plot_result(self, self._picture(image), self._tasks)

    def save(self, path: str | os.PathLike[str], image: ImageSource | None = None) -> None:
        """Write `plot()` under `path` (its ending chooses the format), or the JSON when it ends in `.json`.

        Where no image was involved and pictures were made, the first of them is written.
        """
        from .export import save_result

        save_result(self, path, image)

    def crop(self, image: ImageSource | None = None) -> list[Image.Image]:
        """One piece of the image for every object that has a box or a mask, in the order of `objects`."""
        from .export import crop_objects

        return crop_objects(self, self._picture(image))

    def _picture(self, image: ImageSource | None) -> Image.Image:
        picture = self._image
        if image is not None:
            from .images import open_image

            picture = open_image(image).rgb
        if picture is None:
            raise InputError("this result does not remember its image; hand it over, as in plot(image)")
        if self.size_hw is not None and (picture.height, picture.width) != self.size_hw:
            theirs, ours = f"{picture.width}x{picture.height}", f"{self.size_hw[1]}x{self.size_hw[0]}"
            raise InputError(f"the image has {theirs} pixels, this result is of one with {ours}; hand over that one")
        return picture
