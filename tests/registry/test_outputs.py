"""Outputs are strict and frozen, go through JSON unchanged, and say which objects they hold."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from chiasm_registry import (
    Box,
    Boxes,
    Found,
    InputError,
    Mask,
    Masks,
    Notice,
    Output,
    Picture,
    Point,
    Points,
    ScoredBox,
    ScoredMask,
    ScoredPoint,
    TaskSpec,
    UnknownOutput,
)
from PIL import Image
from pydantic import BaseModel, ValidationError

BOX = Box(xyxy=(1.0, 2.0, 3.0, 4.0))
MASK = Mask.from_numpy(np.eye(3, dtype=bool))
PICTURE = Picture.from_image(Image.new("RGB", (3, 2), (255, 0, 0)))
SAMPLES: list[Output] = [
    Boxes(phrase="a cat", items=(ScoredBox(box=BOX, score=0.5),)),
    Masks(items=(ScoredMask(mask=MASK, score=None, box=BOX, of=0),)),
    Points(items=(ScoredPoint(point=Point(xy=(1.0, 2.0)), score=1.0),)),
    PICTURE,
    Output(phrase="«ü»\n"),
]


@pytest.mark.parametrize("output", SAMPLES, ids=lambda output: type(output).__name__)
def test_every_ready_kind_goes_through_json_and_through_plain_values(output: Output) -> None:
    assert type(output).model_validate_json(output.model_dump_json()) == output
    assert type(output).model_validate(output.model_dump()) == output


def test_an_output_whose_task_is_not_installed_keeps_its_fields() -> None:
    text = SAMPLES[0].model_dump_json()
    unknown = UnknownOutput.model_validate_json(text)
    assert unknown.phrase == "a cat"
    assert json.loads(unknown.model_dump_json()) == json.loads(text)
    with pytest.raises(ValidationError, match="loosens"):
        TaskSpec(name="a", token="[A]", embeddings=1, output=UnknownOutput, summary="loose")


def test_objects_arise_from_what_is_found() -> None:
    assert list(SAMPLES[0].found()) == [Found(0.5, box=BOX)]
    assert list(SAMPLES[1].found()) == [Found(None, box=BOX, mask=MASK, of=0)]
    assert list(Output().found()) == []


def test_a_picture_knows_its_size_and_its_pixels() -> None:
    assert PICTURE.size_hw == (2, 3)
    assert PICTURE.image.size == (3, 2)
    assert PICTURE.image.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    "png", [b"", b"GIF89a", PICTURE.png[:20], PICTURE.png[:-9], "text", None, PICTURE.png[:16] + b"\xff" * 8]
)
def test_what_is_no_picture_is_refused(png: Any) -> None:
    with pytest.raises(ValidationError):
        Picture(png=png)


def test_a_picture_whose_data_is_damaged_says_so_when_it_is_decoded() -> None:
    place = PICTURE.png.index(b"IDAT") + 6
    damaged = Picture(png=PICTURE.png[:place] + b"\xff\xff" + PICTURE.png[place + 2 :])
    with pytest.raises(InputError, match="does not decode"):
        _ = damaged.image


def test_a_picture_in_json_must_be_base64() -> None:
    with pytest.raises(ValidationError, match="base64"):
        Picture.model_validate_json('{"png": "not base64!"}')


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan"), "0.5", True])
def test_a_score_is_a_number_from_0_to_1(score: Any) -> None:
    with pytest.raises(ValidationError):
        ScoredBox(box=BOX, score=score)


@pytest.mark.parametrize("text", ["", "two\nlines", "x" * 401, "\x1b[31mred"])
def test_a_notice_is_one_line(text: str) -> None:
    with pytest.raises(ValidationError):
        Notice(text=text)


@pytest.mark.parametrize(
    "loose",
    [
        {"extra": "allow"},
        {"allow_inf_nan": True},
        {"frozen": False},
        {"strict": False},
        {"arbitrary_types_allowed": True},
    ],
)
def test_a_task_may_not_loosen_its_outputs(loose: dict[str, Any]) -> None:
    schema = type("Loose", (Output,), {"model_config": loose, "__module__": __name__})
    with pytest.raises(ValidationError, match="loosens Output's configuration"):
        TaskSpec(name="a", token="[A]", embeddings=1, output=schema, summary="loose")


def test_an_author_writes_only_what_the_task_says() -> None:
    class Tilt(Output):
        degrees: float

    assert Tilt(degrees=1.5).phrase == ""
    assert TaskSpec(name="tilt", token="[TILT]", embeddings=1, output=Tilt, summary="tilt").needs_image


class Named(BaseModel):
    image: str = ""


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"options": Named}, "an option cannot be called 'image', which run\\(\\) has already; rename it"),
        ({"phrasings": ("Tilt {names}.", "Do it")}, "the phrasing 'Do it' has no {names}; say where they stand"),
        ({"after": ("tilt",)}, "a task cannot come `after` itself; take its name out"),
    ],
)
def test_a_declaration_that_could_not_be_used_is_refused(more: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        TaskSpec(name="tilt", token="[TILT]", embeddings=1, output=Output, summary="tilt", **more)
