"""Promises of `chiasm.train.shapes`: a mask is what one sees of an object in the drawn view, and nobody else pays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from chiasm.train.cutouts import CutoutBank, cut_out
from chiasm.train.data import Record
from chiasm.train.photos import PhotoStore
from chiasm.train.render import collate_plans, render
from chiasm.train.scenes import PLAIN, Settings, ViewPlan, item_rng, plan
from chiasm.train.shapes import Shapes
from chiasm_registry import SampleObject
from PIL import Image

torch.set_num_threads(1)

SIZE = 224
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
BUSY = Settings(size=SIZE, source=240, mosaic=0.4, paste=0.8, colour=0.0, grey=0.0, scale=(0.7, 1.4))


def disc() -> list[float]:
    turns = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    return np.stack((100 + 40 * np.cos(turns), 80 + 40 * np.sin(turns)), 1).ravel().tolist()


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Grey photographs with one disc of a colour that is its name."""
    folder = tmp_path_factory.mktemp("discs")
    made = []
    rows, columns = np.mgrid[:200, :240] + 0.5
    inside = (columns - 100) ** 2 + (rows - 80) ** 2 < 1600
    for number, name in enumerate(COLOURS):
        pixels = np.full((200, 240, 3), 90, dtype=np.uint8)
        pixels[inside] = COLOURS[name]
        path = folder / f"{number}.png"
        Image.fromarray(pixels).save(path)
        objects = (SampleObject(name, (60.0, 40.0, 140.0, 120.0)),)
        made.append(Record(str(number), path, (200, 240), objects, segments=([disc()],)))
    return made


@pytest.fixture(scope="module")
def bank(records: list[Record]) -> CutoutBank:
    found = cut_out(records)
    assert found is not None
    return found


def drawn(view: ViewPlan, records: list[Record], bank: CutoutBank) -> np.ndarray:
    store = PhotoStore(records, size=240)
    batch = collate_plans([view], source=240)
    photos, index = store.batch(batch["tile_photo"])
    return render(photos, bank.pixels, {**batch, "tile_photo": index}, SIZE)[0].permute(1, 2, 0).numpy()


def test_the_masks_of_a_colour_are_the_pixels_of_that_colour(records: list[Record], bank: CutoutBank) -> None:
    overlaps = []
    for seed in range(40):
        view = plan(records, seed % 3, item_rng(3, seed), BUSY, bank.index)
        pixels = drawn(view, records, bank)
        shapes = Shapes(view, records, bank.index)
        for channel, name in enumerate(COLOURS):
            of_colour = [shapes(k) for k, thing in enumerate(view.objects) if thing.name == name]
            if not of_colour:
                continue
            told = np.logical_or.reduce([mask for mask in of_colour if mask is not None])
            others = [c for c in range(3) if c != channel]
            seen = pixels[..., channel] - pixels[..., others].max(-1) > 0.4
            if min(told.sum(), seen.sum()) > 400:
                overlaps.append((told & seen).sum() / (told | seen).sum())
    assert len(overlaps) > 40
    assert np.mean(overlaps) > 0.93
    assert np.quantile(overlaps, 0.1) > 0.85


def test_a_later_paste_hides_what_is_under_it(records: list[Record], bank: CutoutBank) -> None:
    for seed in range(60):
        view = plan(records, 0, item_rng(5, seed), replace(BUSY, mosaic=0.0, paste=1.0), bank.index)
        shapes = Shapes(view, records, bank.index)
        masks = [shapes(k) for k in range(len(view.objects))]
        assert np.sum([mask for mask in masks if mask is not None], axis=0).max() <= 1


def test_a_mask_is_unknown_where_the_file_has_none(records: list[Record]) -> None:
    bare = [replace(record, segments=()) for record in records]
    assert Shapes(plan(bare, 0, item_rng(1, 0), PLAIN), bare, None)(0) is None


def test_nothing_is_drawn_before_it_is_asked_for(records: list[Record], bank: CutoutBank) -> None:
    class Forbidden(list[Record]):
        def __getitem__(self, index: object) -> Record:  # type: ignore[override]
            raise AssertionError("read")

    Shapes(plan(records, 0, item_rng(1, 0), BUSY, bank.index), Forbidden(records), bank.index)
