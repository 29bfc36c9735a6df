"""Promises of `Model.segment` and of what boxes and points may look like; a fake task stands for segmentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
import pytest
import torch
from chiasm.model import Model
from chiasm_registry import ChiasmError, CoreInfo, Decoder, Mask, Masks, Route, Scene, ScoredMask, Task, TaskSpec
from core.tiny import BoxTask, picture, tiny_model
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

A = picture(60, 40)


class Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    threshold: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    multimask: bool = False
    max_objects: int = 100


class Shower(nn.Module):
    """A full mask for each route, and the routes that it was asked."""

    def __init__(self, core: CoreInfo) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(core.width))

    def decode(self, scene: Scene, routes: Sequence[Route]) -> Sequence[Masks]:
        self.asked = list(routes)
        mask = Mask.from_numpy(np.ones(scene.size_hw, dtype=bool))
        return [Masks(items=(ScoredMask(mask=mask, score=0.5, box=mask.box()),)) for _ in routes]


class ShowTask(Task):
    spec = TaskSpec(
        name="segmentation", token="[SEG]", embeddings=2, output=Masks, summary="masks", options=Options,
        after=("detection",),
    )

    def decoder(self, core: CoreInfo) -> Decoder:
        return Shower(core)


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model([BoxTask(), ShowTask()])


def asked(model: Model) -> list[Route]:
    shower: Any = model.network.decoders["segmentation"]
    return list(shower.asked)


def test_names_are_found_and_outlined(model: Model) -> None:
    result = model.segment(A, ["dog", "cat"], threshold=0)
    assert list(result.outputs) == ["detection", "segmentation"]
    assert [route.phrase for route in asked(model)] == ["dog", "cat"]
    assert all(route.earlier for route in asked(model))


def test_boxes_are_asked_in_order_without_a_phrase(model: Model) -> None:
    boxes = [(1, 2, 30, 20), (5, 5, 60, 40)]
    result = model.segment(A, boxes=boxes)
    assert [route.boxes for route in asked(model)] == [((1.0, 2.0, 30.0, 20.0),), ((5.0, 5.0, 60.0, 40.0),)]
    assert {route.phrase for route in asked(model)} == {""}
    assert len(result.objects) == 2
    result.plot()
    assert result.labels == ("object",)
    assert [record["category_id"] for record in result.to_coco()] == [1, 1]
    assert type(result).from_json(result.to_json()).objects == result.objects


def test_every_box_has_its_object_however_many_there_are(model: Model) -> None:
    assert len(model.segment(A, boxes=[(1, 2, 30, 20)] * 130).objects) == 130


@pytest.mark.parametrize("make", [list, np.array, torch.tensor], ids=["list", "array", "tensor"])
def test_boxes_and_points_are_lists_or_arrays(model: Model, make: Callable[[Any], Any]) -> None:
    model.segment(A, boxes=make([[1, 2, 30, 20]]), points=make([[3.0, 4.0], [50.0, 30.0]]), labels=make([1, 0]))
    (route,) = asked(model)
    assert route.points == ((3.0, 4.0, 1), (50.0, 30.0, 0))
    assert route.boxes == ((1.0, 2.0, 30.0, 20.0),)


def test_lists_of_points_are_several_prompts(model: Model) -> None:
    model.segment(A, points=[[(3, 4)], [(5, 6), (7, 8)]], labels=[[1], [1, 0]], multimask=True)
    assert [route.points for route in asked(model)] == [((3.0, 4.0, 1),), ((5.0, 6.0, 1), (7.0, 8.0, 0))]
    assert all(route.options.multimask for route in asked(model))


def test_one_name_is_for_all_and_several_are_one_each(model: Model) -> None:
    boxes = [(1, 2, 30, 20), (5, 5, 60, 40)]
    model.segment(A, ["dog"], boxes=boxes)
    both = [route.slots for route in asked(model)]
    assert torch.equal(both[0], both[1])
    model.segment(A, ["dog", "cat"], boxes=boxes)
    assert [route.phrase for route in asked(model)] == ["dog", "cat"]
    assert torch.allclose(asked(model)[0].slots, both[0], atol=1e-5)
    model.segment(A, ["dog", "dog"], boxes=boxes)
    assert [route.phrase for route in asked(model)] == ["dog", "dog"]


def test_a_box_is_clipped_where_rounding_took_it_out(model: Model) -> None:
    model.segment(A, boxes=[(-0.5, 0, 60.9, 40)])
    assert asked(model)[0].boxes == ((0.0, 0.0, 60.0, 40.0),)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "nothing says what to segment"),
    "inverted": ({"boxes": [(30, 2, 1, 20)]}, "inverted or empty"),
    "empty": ({"boxes": [(3, 2, 3, 20)]}, "inverted or empty"),
    "outside": ({"boxes": [(100, 100, 200, 200)]}, "leaves the image of 60 x 40"),
    "partly outside": ({"boxes": [(10, 10, 200, 30)]}, "leaves the image of 60 x 40"),
    "three numbers": ({"boxes": [(1, 2, 3)]}, "4 finite numbers"),
    "not finite": ({"boxes": [(1, 2, float("nan"), 4)]}, r"boxes\[0\]\[2\] is nan; it must be a finite number"),
    "words": ({"boxes": [("a", "b", "c", "d")]}, r"boxes\[0\]\[0\] is 'a'; it must be a finite number"),
    "too large": ({"boxes": [(1, 2, 10**400, 4)]}, r"boxes\[0\]\[2\] is a number of more than 20 digits"),
    "a threshold of nonsense": ({"boxes": [(1, 2, 30, 20)], "threshold": "x"}, "threshold is 'x'"),
    "no objects": ({"boxes": [(1, 2, 30, 20)], "max_objects": 0}, "max_objects is 0"),
    "one box outside a list": ({"boxes": (1, 2, 30, 20)}, r"boxes\[0\]"),
    "no box": ({"boxes": []}, "something in it"),
    "text": ({"boxes": "1,2,3,4"}, "must be a list"),
    "points of three": ({"points": [(1, 2, 3)]}, "2 finite numbers"),
    "points of none": ({"points": []}, "something in it"),
    "points of text": ({"points": ["ab"]}, "points"),
    "a point outside": ({"points": [(99, 2)]}, "outside the image"),
    "labels alone": ({"labels": [1]}, "give points, too"),
    "too few labels": ({"points": [(1, 2), (3, 4)], "labels": [1]}, "1 labels for 2 points"),
    "a label of 2": ({"points": [(1, 2)], "labels": [2]}, r"must be 1 \(inside\) or 0"),
    "all beside": ({"points": [(1, 2)], "labels": [0]}, "at least one must lie"),
    "names and boxes": ({"boxes": [(1, 2, 30, 20)], "names": ["a", "b"]}, "2 names for 1 prompts"),
    "boxes and points": ({"boxes": [(1, 2, 30, 20)] * 2, "points": [[(1, 2)]]}, "2 boxes and 1 lists"),
    "a name that is none": ({"boxes": [(1, 2, 30, 20)], "names": [3]}, r"names\[0\]"),
    "multimask": ({"boxes": [(1, 2, 30, 20)], "multimask": 2}, "multimask"),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_prompts_are_refused_in_one_line(model: Model, case: str) -> None:
    given, message = WRONG[case]
    with pytest.raises(ChiasmError, match=message) as caught:
        model.segment(A, **given)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 200


def test_boxes_are_of_one_image(model: Model) -> None:
    with pytest.raises(ChiasmError, match="one image"):
        model.segment([A, A], boxes=[(1, 2, 30, 20)])
