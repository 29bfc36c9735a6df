"""A plot is fit to be shown: nothing leaves the picture, tags keep off one another, colours differ by label."""

from __future__ import annotations

import math
import random
import re
from itertools import combinations, pairwise

import numpy as np
import pytest
from chiasm.drawing.canvas import Canvas
from chiasm.drawing.fonts import font_for
from chiasm.drawing.palette import PALETTE, colours_by_label, text_on
from chiasm.drawing.tags import Rect, place_tags
from chiasm.plot import plot_result
from chiasm.result import Object, Result
from chiasm_registry.errors import InputError
from chiasm_registry.geometry import Box, Mask, Point
from chiasm_registry.outputs import Boxes, Points, ScoredPoint
from pace import fastest
from PIL import Image


def things(*boxes: tuple[float, float, float, float]) -> tuple[Object, ...]:
    return tuple(
        Object(label=f"thing {n}", score=0.5, box=Box(xyxy=box), task="detection") for n, box in enumerate(boxes)
    )


def overlap(a: Rect, b: Rect) -> int:
    return max(0, min(a.x1, b.x1) - max(a.x0, b.x0)) * max(0, min(a.y1, b.y1) - max(a.y0, b.y0))


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (200, 1), (17, 13), (240, 240), (640, 480), (3000, 2000)])
def test_every_size_of_image_is_drawn(size: tuple[int, int]) -> None:
    width, height = size
    objects = things((0, 0, width, height), (-9.0, -9.0, 1e5, 1e5), (5e4, 5e4, 6e4, 6e4))
    result = Result(size_hw=(height, width), objects=objects)
    drawn = result.plot(Image.new("RGB", size, "grey"))
    assert drawn.size == size if max(size) >= 240 else max(drawn.size) >= 320
    assert drawn.width * height == drawn.height * width


def test_the_image_itself_stays_as_it_was() -> None:
    image = Image.new("RGB", (300, 300), "grey")
    Result(objects=things((10, 10, 90, 90))).plot(image)
    assert image.getcolors() == [(90_000, (128, 128, 128))]


def test_a_frame_stands_where_the_box_says() -> None:
    image = Image.new("RGB", (400, 300), "black")
    drawn = np.asarray(Result(objects=things((100, 120, 300, 250))).plot(image))
    colour = np.array(PALETTE[0])
    assert (drawn[180, 100] == colour).all()
    assert (drawn[249, 200] == colour).all()
    assert (drawn[180, 299] == colour).all()
    assert (drawn[180, 200] == 0).all()


def test_tags_stay_inside_and_off_one_another() -> None:
    boxes = [Rect(x, y, x + 60, y + 50) for x in range(0, 580, 100) for y in range(0, 430, 90)]
    tags = place_tags(boxes, [(80, 20)] * len(boxes), (640, 480), 2)
    assert all(t.x0 >= 0 and t.y0 >= 0 and t.x1 <= 640 and t.y1 <= 480 for t in tags)
    assert not any(overlap(a, b) for a, b in combinations(tags, 2))


def test_equal_boxes_get_tags_that_can_all_be_read() -> None:
    boxes = [Rect(200, 200, 400, 400)] * 5
    tags = place_tags(boxes, [(150, 24)] * 5, (640, 480), 2)
    assert not any(overlap(a, b) for a, b in combinations(tags, 2))


def test_tags_of_a_crowd_are_placed_soon_and_where_they_always_were() -> None:
    """A thousand boxes in the time of a few; the places are those of the plain rule, box by box."""
    chance = random.Random(0)
    corners = [(chance.randrange(600), chance.randrange(440)) for _ in range(1000)]
    boxes = [Rect(x, y, chance.randrange(x + 1, 641), chance.randrange(y + 1, 481)) for x, y in corners]
    first = [tag[:2] for tag in place_tags(boxes[:12], [(80, 20)] * 12, (640, 480), 2)]
    assert first == [(549, 370), (430, 2), (390, 243), (497, 189), (310, 226), (443, 280), (223, 240), (142, 126),
                     (143, 368), (97, 298), (507, 254), (313, 140)]  # fmt: skip
    assert fastest(lambda: place_tags(boxes, [(80, 20)] * 1000, (640, 480), 2), times=1) < 6  # plainly: 130


def test_a_label_has_one_colour_in_a_set_of_pictures_and_labels_of_one_picture_differ() -> None:
    asked = ["cat", "dog", "cup"]
    assert colours_by_label(asked, ["cup"])["cup"] == colours_by_label(asked, ["cat", "cup"])["cup"]
    many = [f"name {n}" for n in range(80)]
    assert len(set(colours_by_label(many, many[50:60]).values())) == 10
    assert len(set(PALETTE)) == len(PALETTE)


def test_text_has_contrast_on_every_colour() -> None:
    def light(colour: tuple[int, int, int]) -> float:
        parts = [math.pow(c / 255, 2.2) for c in colour]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2] + 0.05

    for colour in PALETTE:
        low, high = sorted((light(colour), light(text_on(colour))))
        assert high / low >= 4.5


def test_text_grows_with_the_picture() -> None:
    sizes = [Canvas(Image.new("RGB", (side, side))).text_size for side in (32, 500, 1000, 4000)]
    assert sizes[0] >= 10
    assert all(a < b for a, b in pairwise(sizes[1:]))


def test_letters_that_the_built_in_font_lacks_are_not_drawn_as_boxes() -> None:
    font, text = font_for("café", 20)
    assert text in ("café", "cafe")
    assert bytes(font.getmask(text[-1])) != bytes(font.getmask("\U0010fffd"))


def test_a_mask_tints_its_pixels_only() -> None:
    region = np.zeros((300, 400), bool)
    region[100:200, 100:300] = True
    thing = Object(label="cup", score=0.5, mask=Mask.from_numpy(region), task="segmentation")
    drawn = np.asarray(Result(size_hw=(300, 400), objects=(thing,)).plot(Image.new("RGB", (400, 300), "black")))
    assert 0 < drawn[160, 200].max() < max(PALETTE[0])
    assert drawn[100, 280].max() > 200
    assert (drawn[250, 200] == 0).all()
    with pytest.raises(InputError, match="400x300"):
        plot_result(Result(objects=(thing,)), Image.new("RGB", (500, 300)))


def test_points_are_drawn_from_their_output() -> None:
    points = Points(phrase="nose", items=(ScoredPoint(point=Point(xy=(200.0, 150.0)), score=0.5),))
    drawn = np.asarray(Result(outputs={"pointing": (points,)}).plot(Image.new("RGB", (400, 300), "black")))
    assert (drawn[150, 200] == np.array(PALETTE[0])).all()


class _Draws:
    def __init__(self, answer: object) -> None:
        self.answer = answer

    def draw(self, canvas: Canvas, output: Boxes) -> object:
        canvas.box((300.0, 200.0, 350.0, 250.0), output.phrase)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(("answer", "by_task"), [(True, True), (False, False), (None, False), (ValueError("x"), False)])
def test_a_task_may_draw_and_leaves_nothing_when_it_declines_or_fails(
    answer: object, by_task: bool, caplog: pytest.LogCaptureFixture
) -> None:
    result = Result(objects=things((20, 20, 90, 90)), outputs={"detection": (Boxes(phrase="thing 0"),)})
    tasks = {"detection": _Draws(answer)}
    drawn = np.asarray(plot_result(result, Image.new("RGB", (400, 300), "black"), tasks))  # type: ignore[arg-type]
    assert bool(drawn[225, 300].any()) == by_task
    assert bool(drawn[60, 20].any()) != by_task
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    if isinstance(answer, Exception):  # its author has to hear of it
        (line,) = told
        assert re.fullmatch(r"draw\(\) of task 'detection' failed: ValueError at test_plot\.py:\d+; .*", line)
    else:
        assert told == []


def test_where_masks_overlap_both_edges_are_seen() -> None:
    """The edge of the mask below is drawn over the tint of the one above."""
    one, two = np.zeros((200, 300), dtype=bool), np.zeros((200, 300), dtype=bool)
    one[40:160, 40:180] = True
    two[60:140, 120:260] = True
    things = [
        Object(label=label, score=score, mask=Mask.from_numpy(mask), task="segmentation")
        for label, score, mask in (("cup", 0.9, one), ("dog", 0.5, two))
    ]
    grey = Image.new("RGB", (300, 200), "grey")
    pictures = (Result(size_hw=(200, 300), objects=tuple(some)).plot(grey) for some in (things[1:], things))
    alone, both = (np.asarray(picture, dtype=int) for picture in pictures)
    row, inside = 100, slice(100, 140)  # the second mask's left edge, which lies in the first
    assert np.abs(np.diff(both[row, inside], axis=0)).sum(1).max() > 60
    assert np.abs(np.diff(alone[row, inside], axis=0)).sum(1).max() > 60


def test_heat_tints_where_its_values_are_large() -> None:
    """A grid over the whole picture; where it is 0 nothing changes, and a bad grid is refused."""
    canvas = Canvas(Image.new("RGB", (320, 320), "white"))
    canvas.heat([[0, 0, 0], [0, 0, 0], [0, 0, 4.0]], "cups: 4")
    seen = canvas.picture()
    assert seen.getpixel((150, 60)) == (255, 255, 255)
    assert sum(seen.getpixel((300, 300))) < 700  # type: ignore[arg-type]
    for bad in ([], [[]], [[1.0], [1.0, 2.0]], [[float("nan")]], [[float("inf")]]):
        with pytest.raises(InputError, match="rows of one length"):
            canvas.heat(bad, "x")
    canvas.heat([[0.0]], "nothing")
    canvas.picture()
