"""What a decoder answers: one frozen, strict value for one route, and ready kinds for the usual answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from .geometry import Box, Mask, Point

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


class ScoredPoint(BaseModel):
    """A point and how sure the decoder is of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    point: Point
    score: Score | None


class Points(Output):
    """One point in each thing the phrase means."""

    items: tuple[ScoredPoint, ...] = ()
