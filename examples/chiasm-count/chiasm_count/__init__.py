"""[COUNT]: how many things a phrase means, how sure that is, and where they are dense."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

from chiasm_registry import Canvas, CoreInfo, Decoder, Metric, Output, Sample, Task, TaskSpec, hookimpl
from pydantic import Field

HERE = Path(__file__).parent
Whole = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0)]


class Count(Output):
    """A number, its interval of four fifths, and how many things stand in each cell of a grid over the image."""

    count: Whole = 0
    low: Whole = 0
    high: Whole = 0
    density: tuple[tuple[Share, ...], ...] = ()

    def is_empty(self) -> bool:
        return self.count == 0


class Truth(NamedTuple):
    """What is there: the middles of the things, in shares of width and height; whether it is all; its one name."""

    middles: list[tuple[float, float]]
    whole: bool  # False where a crowd stands, of which nobody knows how many they are
    name: str | None


class Counting(Task):
    """Counting without boxes, also where things are too many or too small to be found one by one."""

    spec = TaskSpec(
        name="count",
        token="[COUNT]",
        embeddings=4,
        output=Count,
        summary="how many things a phrase means",
        phrasings=tuple((HERE / "phrasings.txt").read_text("utf-8").splitlines()),
    )

    def decoder(self, core: CoreInfo) -> Decoder:
        from .decoder import CountDecoder

        return CountDecoder(core)

    def targets(self, sample: Sample) -> Sequence[Truth]:
        height, width = sample.size_hw
        truths = []
        for matches, meaning in zip(sample.matches, sample.meanings, strict=True):
            things = [sample.objects[k] for k in matches]
            boxes = [thing.box_xyxy for thing in things if not thing.crowd]
            middles = [((x0 + x1) / 2 / width, (y0 + y1) / 2 / height) for x0, y0, x1, y1 in boxes]
            truths.append(Truth(middles, len(boxes) == len(things), meaning[0] if len(meaning) == 1 else None))
        return truths

    def metric(self) -> Metric:
        from .metric import CountMetric

        return CountMetric()

    def draw(self, canvas: Canvas, output: Output) -> bool:
        if not isinstance(output, Count) or not output.density:
            return False
        canvas.heat(output.density, f"{output.phrase}: {output.count} ({output.low} to {output.high})")
        return True


@hookimpl
def chiasm_tasks() -> Sequence[Task]:
    return [Counting()]
