"""Promises of `chiasm.train.scenes`, `cutouts` and `render`: a plan is repeatable, and the pixels show its objects."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from chiasm.train.cutouts import CutoutBank, cut_out
from chiasm.train.data import Record
from chiasm.train.photos import PhotoStore
from chiasm.train.render import collate_plans, render
from chiasm.train.scenes import PLAIN, Settings, ViewPlan, item_rng, plan
from chiasm_registry import SampleObject
from pace import fastest
from PIL import Image

torch.set_num_threads(1)

SIZE = 112
DISC = (30.0, 20.0, 70.0, 60.0)
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
BUSY = Settings(size=SIZE, source=120, mosaic=0.4, paste=1.0, colour=0.0, grey=0.0)


def disc_polygon() -> list[float]:
    turns = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack((50 + 20 * np.cos(turns), 40 + 20 * np.sin(turns)), 1).ravel().tolist()


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Grey photographs with one disc of a colour that is its name; red is twice as frequent."""
    folder = tmp_path_factory.mktemp("discs")
    made = []
    rows, columns = np.mgrid[:100, :120] + 0.5
    inside = (columns - 50) ** 2 + (rows - 40) ** 2 < 400
    for number, name in enumerate(["red", "green", "blue", "red"]):
        pixels = np.full((100, 120, 3), 90, dtype=np.uint8)
        pixels[inside] = COLOURS[name]
        path = folder / f"{number}.png"
        Image.fromarray(pixels).save(path)
        objects = (SampleObject(name, DISC),)
        captions = ("a disc", "a disc on the left")
        made.append(Record(str(number), path, (100, 120), objects, captions, None, ([disc_polygon()],)))
    return made


@pytest.fixture(scope="module")
def bank(records: list[Record]) -> CutoutBank:
    found = cut_out(records)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def photos(records: list[Record]) -> torch.Tensor:
    pixels = PhotoStore(records, size=120).pixels
    assert pixels is not None
    return pixels


def planned(records: list[Record], bank: CutoutBank, settings: Settings, count: int) -> list[ViewPlan]:
    return [plan(records, k % len(records), item_rng(3, k), settings, bank.index) for k in range(count)]


def test_a_plan_depends_on_seed_and_index_alone(records: list[Record], bank: CutoutBank) -> None:
    Random(5).random()
    once, twice = (planned(records, bank, BUSY, 8) for _ in range(2))
    assert once == twice
    assert plan(records, 3, item_rng(3, 3), BUSY, pickle.loads(pickle.dumps(bank.index))) == once[3]
    assert plan(records, 3, item_rng(4, 3), BUSY, bank.index) != once[3]


def test_every_object_that_is_not_ignored_shows_its_colour(
    records: list[Record], bank: CutoutBank, photos: torch.Tensor
) -> None:
    plans = planned(records, bank, BUSY, 24)
    views = render(photos, bank.pixels, collate_plans(plans, source=120), SIZE)
    checked = 0
    for view, view_plan in zip(views, plans, strict=True):
        for thing in view_plan.objects:
            x0, y0, x1, y1 = (round(edge) for edge in thing.box_xyxy)
            if not thing.crowd and min(x1 - x0, y1 - y0) > 4:
                channel = list(COLOURS).index(thing.name)
                part = view[:, y0:y1, x0:x1]
                others = part[[k for k in range(3) if k != channel]].amax(0)
                checked += 1
                assert ((part[channel] > 0.5) & (others < 0.5)).float().mean() > 0.1
    assert checked > 40


def test_a_pasted_box_is_tight(records: list[Record], bank: CutoutBank, photos: torch.Tensor) -> None:
    settings = replace(PLAIN, size=SIZE, source=120, paste=1.0, pastes=1, paste_scale=(0.6, 0.7))
    for number in range(200):
        one = plan(records[1:2], 0, item_rng(0, number), settings, bank.index)
        pasted = one.objects[-1]
        apart = pasted.box_xyxy[0] > 70 or pasted.box_xyxy[1] > 70
        if pasted.name == "red" and apart and max(pasted.box_xyxy) < SIZE:
            view = render(photos[1:2], bank.pixels, collate_plans([one], source=120), SIZE)[0]
            red = ((view[0] - view[1]) > 0.35).nonzero()
            top, left, bottom, right = *red.min(0).values.tolist(), *(red.max(0).values + 1).tolist()
            assert pasted.box_xyxy == pytest.approx((left, top, right, bottom), abs=1.5)
            return
    pytest.fail("no free paste among the plans")


def test_plain_settings_show_the_photograph_as_it_is(
    records: list[Record], bank: CutoutBank, photos: torch.Tensor
) -> None:
    one = plan(records, 2, Random(0), PLAIN, bank.index)
    assert one.captions == records[2].captions
    assert one.objects[0].box_xyxy == pytest.approx((30 * 448 / 120, 20 * 4.48, 70 * 448 / 120, 60 * 4.48))
    view = render(photos, bank.pixels, collate_plans([one], source=120))[0]
    with Image.open(records[2].path) as picture:
        wanted = np.asarray(picture.resize((448, 448), Image.Resampling.BICUBIC), dtype=np.float32) / 255
    assert (view.permute(1, 2, 0) - torch.from_numpy(wanted)).abs().mean() < 0.01


def test_captions_hold_only_what_is_still_true(records: list[Record], bank: CutoutBank) -> None:
    mirrored = plan(records, 0, Random(0), Settings(moved=0.0, flip=1.0, paste=0.0), None)
    assert mirrored.captions == ("a disc",)
    pasted = plan(records, 0, Random(0), Settings(moved=0.0, flip=0.0, paste=1.0), bank.index)
    assert pasted.captions == ()


def test_a_mosaic_is_labelled_with_what_all_its_photographs_are(records: list[Record]) -> None:
    partial = [replace(record, labelled=frozenset({"red", record.objects[0].name})) for record in records]
    mosaic = plan(partial, 1, Random(1), Settings(mosaic=1.0, paste=0.0))
    assert len(mosaic.tiles) == 4
    assert mosaic.labelled in (frozenset({"red"}), frozenset({"red", "green"}))


def test_what_a_paste_hides_is_ignored(bank: CutoutBank) -> None:
    dots = [SampleObject("dot", (x, y, x + 3, y + 3)) for x in range(0, 97, 4) for y in range(0, 97, 4)]
    tiny = Record("9", Path("x"), (100, 100), tuple(dots))
    settings = Settings(moved=0.0, flip=0.0, paste=1.0, pastes=1, paste_scale=(1.4, 1.4))
    one = plan([tiny], 0, Random(2), settings, bank.index)
    x0, y0, x1, y1 = one.objects[-1].box_xyxy
    for thing in one.objects[:-1]:
        wide = min(thing.box_xyxy[2], x1) - max(thing.box_xyxy[0], x0)
        high = min(thing.box_xyxy[3], y1) - max(thing.box_xyxy[1], y0)
        under = max(wide, 0) * max(high, 0) / (3 * 4.48) ** 2
        assert thing.crowd == (under * np.pi / 4 > 0.7) or under == pytest.approx(0.7 * 4 / np.pi, abs=0.03)
    assert sum(thing.crowd for thing in one.objects) > 20


def test_rare_names_are_drawn_more_often_than_they_occur(bank: CutoutBank) -> None:
    rng = Random(0)
    drawn = [bank.index.names[bank.index.draw(rng)] for _ in range(3000)]
    share = drawn.count("red") / len(drawn)  # two of four discs, by the root 0.41
    assert share == pytest.approx(2**-0.5 / (2 + 2**-0.5), abs=0.03)


def test_a_set_without_masks_has_no_bank() -> None:
    assert cut_out([Record("1", Path("x"), (10, 10), (SampleObject("a", (0, 0, 5, 5)),))]) is None


def test_planning_takes_less_than_a_millisecond(records: list[Record], bank: CutoutBank) -> None:
    assert fastest(lambda: planned(records, bank, BUSY, 100)) / 100 < 1e-3
