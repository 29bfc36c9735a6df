"""What a decoder answers: one frozen, strict value for one route, and ready kinds for the usual answers."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationInfo

from .errors import InputError
from .geometry import Box, Mask, Point

if TYPE_CHECKING:
    from PIL.Image import Image

NOTICE_CHARS = 400
PNG_HEAD = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
PNG_TAIL = b"\0\0\0\0IEND\xaeB`\x82"
MAX_PICTURE_PIXELS = 2**26

Score = Annotated[float, Field(ge=0.0, le=1.0)]


class Found(NamedTuple):
    """One object of an output, as core turns it into a `chiasm.Object`."""

    score: float | None
    box: Box | None = None
    mask: Mask | None = None
    of: int | None = None  # index of the earlier task's object that this mask completes


class Output(BaseModel):
    """The answer to one route. Subclass it with what the task says; `phrase` is filled in by dispatch."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    phrase: str = ""

    def found(self) -> Iterator[Found]:
        """The objects in this answer; none by default."""
        return iter(())

    def is_empty(self) -> bool:
        """Whether this says that the phrase is not there; an answer that is no list of things never does."""
        return False


class ScoredBox(BaseModel):
    """A box and how sure the decoder is of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    box: Box
    score: Score | None


class Boxes(Output):
    """Boxes of everything the phrase means, best first."""

    items: tuple[ScoredBox, ...] = ()

    def found(self) -> Iterator[Found]:
        return (Found(item.score, box=item.box) for item in self.items)

    def is_empty(self) -> bool:
        return not self.items


class ScoredMask(BaseModel):
    """A mask, its tight box, its score; `of` is the index of the box it was made for."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    mask: Mask
    score: Score | None
    box: Box | None = None
    of: Annotated[int, Field(ge=0)] | None = None


class Masks(Output):
    """Masks of everything the phrase means, one an object."""

    items: tuple[ScoredMask, ...] = ()

    def found(self) -> Iterator[Found]:
        return (Found(item.score, box=item.box, mask=item.mask, of=item.of) for item in self.items)

    def is_empty(self) -> bool:
        return not self.items


class ScoredPoint(BaseModel):
    """A point and how sure the decoder is of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    point: Point
    score: Score | None


class Points(Output):
    """One point in each thing the phrase means."""

    items: tuple[ScoredPoint, ...] = ()

    def is_empty(self) -> bool:
        return not self.items


def _from_base64(png: Any, info: ValidationInfo) -> Any:
    if info.mode != "json" or not isinstance(png, str):
        return png
    try:
        return base64.b64decode(png, validate=True)
    except binascii.Error:
        raise ValueError("a picture must be a PNG file in base64") from None


def _sound_png(png: bytes) -> bytes:
    height, width = _png_size_hw(png)
    if not png.startswith(PNG_HEAD) or not 1 <= height * width <= MAX_PICTURE_PIXELS:
        raise ValueError(f"a picture must be a PNG file of 1 to {MAX_PICTURE_PIXELS} pixels")
    if not png.endswith(PNG_TAIL):
        raise ValueError("a picture's PNG file must be whole; this one is cut, or more follows it")
    return png


def _png_size_hw(png: bytes) -> tuple[int, int]:
    return int.from_bytes(png[20:24], "big"), int.from_bytes(png[16:20], "big")


class Picture(Output):
    """One picture, kept as the bytes of a PNG file; in JSON these are base64."""

    png: Annotated[
        bytes,
        BeforeValidator(_from_base64),
        AfterValidator(_sound_png),
        PlainSerializer(lambda png: base64.b64encode(png).decode("ascii"), return_type=str, when_used="json"),
    ]

    @classmethod
    def from_image(cls, image: Image) -> Picture:
        """The picture of a PIL image."""
        file = io.BytesIO()
        image.save(file, format="PNG")
        return cls(png=file.getvalue())

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width as the file's header states them."""
        return _png_size_hw(self.png)

    @property
    def image(self) -> Image:
        """The picture as a PIL image, decoded anew at each call; an InputError when its data is damaged."""
        import PIL.Image

        try:
            image = PIL.Image.open(io.BytesIO(self.png), formats=["PNG"])
            image.load()
        except Exception as error:  # Pillow raises whatever its parsers raise
            raise InputError("this picture's PNG data does not decode; make it anew") from error
        return image


class UnknownOutput(Output):
    """An answer read back from a file whose task is not installed here; its fields are kept in `model_extra`."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a notice is one line of printable characters")
    return text


class Notice(BaseModel):
    """What a person should know about an answer, in one line; `task` names the task it is about, if it is about one."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    text: Annotated[str, Field(min_length=1, max_length=NOTICE_CHARS), AfterValidator(_one_line)]
    task: str | None = None
