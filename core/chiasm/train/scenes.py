"""What each training view shows, planned on the CPU: photographs, crops, pasted cut-outs, colours, and the objects.

Frames: objects of a plan are in pixels of the view, `size_hw = (size, size)`; tiles and pastes in unit coordinates of
the view. A plan depends on nothing but its arguments: seed the generator by (seed, index) and it can be made anywhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from chiasm_registry.contract import SampleObject

from .augment import (
    IDENTITY,
    WHOLE,
    Affine,
    Window,
    colour_map,
    flipped,
    into_window,
    sample_affine,
    sample_colours,
    seen_share,
    transform_boxes,
)
from .cutouts import MARGIN, SIDE, CutoutIndex
from .data import Record
from .shapes import Thing, things
from .tints import TINTS

SIDED = re.compile(r"\b(left|right)(most|hand)?\b", re.IGNORECASE)  # captions that a mirrored photograph belies
PLACES = 3  # tried for a paste before it may hide something
MOSTLY_SEEN = 0.7  # of a photograph's area, for its captions to hold
NO_COLOURS = colour_map(1.0, 1.0, 1.0, 0.0)


@dataclass(frozen=True)
class Settings:
    """How views are made; probabilities are per view."""

    size: int = 448  # of a view, pixels
    source: int = 480  # of a photograph in the store, pixels
    moved: float = 0.8  # zoomed and shifted; else the whole photograph, as at inference
    flip: float = 0.5
    scale: tuple[float, float] = (0.5, 1.6)
    aspect: float = 1.25
    mosaic: float = 0.0  # four photographs in one view
    paste: float = 0.5  # any cut-outs at all
    pastes: int = 4  # at most
    paste_scale: tuple[float, float] = (0.5, 1.4)  # of a cut-out's size in its own photograph
    smallest_paste_px: float = 16.0
    twins: float = 0.0  # of the pastes: of the name of something that is there, to be told from it by words
    tint: float = 0.0  # of the pastes: in one plain colour, which words may name
    hidden: float = 0.7  # share of an object under pastes from which it counts as not to be seen
    colour: float = 0.4  # strength of the colour changes
    grey: float = 0.05


PLAIN = Settings(moved=0.0, flip=0.0, mosaic=0.0, paste=0.0, colour=0.0, grey=0.0)  # the photograph as it is


@dataclass(frozen=True)
class Tile:
    """A photograph of the store, placed in the view, seen inside `window` only."""

    photo: int
    affine: Affine
    window: Window = WHOLE


@dataclass(frozen=True)
class Paste:
    """A cut-out of the bank; its whole picture, margin included, covers `box_unit` of the view."""

    cutout: int
    box_unit: Window
    flip: bool
    gain: float  # brightness
    tint: str = ""  # one of TINTS, or the cut-out's own colours


@dataclass(frozen=True)
class ViewPlan:
    """One view before it is drawn; `captions` are those that still hold, `labelled` as in `Record`."""

    image_id: str
    tiles: tuple[Tile, ...]
    pastes: tuple[Paste, ...]
    colours: tuple[float, ...]  # a (3, 4) matrix, row by row
    objects: tuple[SampleObject, ...]
    captions: tuple[str, ...]
    labelled: frozenset[str] | None
    size_hw: tuple[int, int]


def item_rng(seed: int, index: int) -> Random:
    """The generator of item `index` of a run: the same in every process and after a resume."""
    return Random(f"{seed}/{index}")


def plan(
    records: Sequence[Record],
    index: int,
    rng: Random,
    settings: Settings,
    cutouts: CutoutIndex | None = None,
) -> ViewPlan:
    """A view of record `index`; with `cutouts` others' objects are pasted on it."""
    record = records[index]
    if rng.random() < settings.mosaic:
        tiles, objects = _mosaic(records, index, rng, settings)
        captions: tuple[str, ...] = ()
    else:
        tile = Tile(index, _place(rng, settings))
        own = things(record.objects, 0)
        tiles, objects = (tile,), list(transform_boxes(own, tile.affine, record.size_hw, settings.size))
        captions = _captions(record, tile.affine)
    pastes: list[Paste] = []
    if cutouts is not None and rng.random() < settings.paste:
        pastes = _paste(objects, cutouts, rng, settings)
    labelled = [records[tile.photo].labelled for tile in tiles]
    return ViewPlan(
        image_id=record.image_id,
        tiles=tiles,
        pastes=tuple(pastes),
        colours=sample_colours(rng, settings.colour, settings.grey) if settings.colour else NO_COLOURS,
        objects=tuple(objects),
        captions=() if pastes else captions,
        labelled=_shared(labelled),
        size_hw=(settings.size, settings.size),
    )


def _place(rng: Random, settings: Settings) -> Affine:
    if rng.random() < settings.moved:
        return sample_affine(rng, scale=settings.scale, aspect=settings.aspect, flip=settings.flip)
    return flipped(IDENTITY) if rng.random() < settings.flip else IDENTITY


def _mosaic(
    records: Sequence[Record], index: int, rng: Random, settings: Settings
) -> tuple[tuple[Tile, ...], list[Thing]]:
    """Record `index` and three others, two by two around a random middle."""
    x, y = rng.uniform(0.35, 0.65), rng.uniform(0.35, 0.65)
    windows = [(0.0, 0.0, x, y), (x, 0.0, 1.0, y), (0.0, y, x, 1.0), (x, y, 1.0, 1.0)]
    rng.shuffle(windows)
    photos = [index] + [rng.randrange(len(records)) for _ in range(3)]
    tiles: list[Tile] = []
    objects: list[Thing] = []
    for photo, window in zip(photos, windows, strict=True):
        tile = Tile(photo, into_window(_place(rng, settings), window), window)
        tiles.append(tile)
        record = records[photo]
        own = things(record.objects, len(tiles) - 1)
        objects += transform_boxes(own, tile.affine, record.size_hw, settings.size, window)
    return tuple(tiles), objects


def _captions(record: Record, affine: Affine) -> tuple[str, ...]:
    if seen_share(affine) < MOSTLY_SEEN:
        return ()
    mirrored = affine[0] < 0
    return tuple(text for text in record.captions if not (mirrored and SIDED.search(text)))


def _shared(labelled: Sequence[frozenset[str] | None]) -> frozenset[str] | None:
    """Names annotated in all of several photographs; None stands for every name."""
    known = [names for names in labelled if names is not None]
    return frozenset.intersection(*known) if known else None


def _paste(objects: list[Thing], cutouts: CutoutIndex, rng: Random, settings: Settings) -> list[Paste]:
    """Cut-outs in drawing order; `objects` is changed to what can then be seen."""
    hidden = [0.0] * len(objects)
    pastes = []
    for _ in range(rng.randint(1, settings.pastes)):
        cutout = _drawn(objects, cutouts, rng, settings)
        box, added = _best_place(objects, hidden, cutouts, cutout, rng, settings)
        inside = _inside(box, settings.size)
        tint = rng.choice(tuple(TINTS)) if rng.random() < settings.tint and cutouts.names[cutout] != "person" else ""
        flip, gain = rng.random() < 0.5, rng.uniform(0.8, 1.2)
        pastes.append(Paste(cutout, _with_margin(box, settings.size), flip, gain, tint))
        hidden = [before + more for before, more in zip(hidden, added, strict=True)] + [0.0]
        objects.append(Thing(cutouts.names[cutout], inside, paste=len(pastes) - 1, quality=tint))
    # what is mostly hidden may still show an edge: ignored rather than called absent, unless nothing is left
    seen = [(thing, share) for thing, share in zip(objects, hidden, strict=True) if share < 0.5 + settings.hidden / 2]
    objects[:] = [replace(thing, crowd=thing.crowd or share > settings.hidden, hidden=share) for thing, share in seen]
    return pastes


def _drawn(objects: Sequence[SampleObject], cutouts: CutoutIndex, rng: Random, settings: Settings) -> int:
    """A cut-out: at times of a name that is there already."""
    if objects and rng.random() < settings.twins:
        twin = cutouts.like(rng.choice(objects).name, rng)
        if twin is not None:
            return twin
    return cutouts.draw(rng)


def _best_place(
    objects: Sequence[SampleObject],
    hidden: Sequence[float],
    cutouts: CutoutIndex,
    cutout: int,
    rng: Random,
    settings: Settings,
) -> tuple[Window, list[float]]:
    """A box in pixels and what it hides of each object: the first of a few that leaves all to be seen."""
    for _ in range(PLACES):
        box = _random_box(cutouts.sizes_unit[cutout], rng, settings)
        added = [_covered(thing.box_xyxy, box) * cutouts.fills[cutout] for thing in objects]
        if all(before + more <= settings.hidden for before, more in zip(hidden, added, strict=True) if more):
            break
    return box, added


def _random_box(size_unit: tuple[float, float], rng: Random, settings: Settings) -> Window:
    """At least four fifths of it in the view, each way; never larger than most of the view."""
    low, high = settings.paste_scale
    zoom = math.exp(rng.uniform(math.log(low), math.log(high)))
    width, height = (side * zoom * settings.size for side in size_unit)
    bigger = settings.smallest_paste_px / min(width, height)
    smaller = 0.7 * settings.size / max(width, height)
    fit = min(max(bigger, 1.0), smaller)
    width, height = width * fit, height * fit
    left = rng.uniform(-0.2 * width, settings.size - 0.8 * width)
    top = rng.uniform(-0.2 * height, settings.size - 0.8 * height)
    return (left, top, left + width, top + height)


def _inside(box: Window, size: int) -> Window:
    return (max(box[0], 0.0), max(box[1], 0.0), min(box[2], float(size)), min(box[3], float(size)))


def _covered(under: Window, over: Window) -> float:
    width = min(under[2], over[2]) - max(under[0], over[0])
    height = min(under[3], over[3]) - max(under[1], over[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / ((under[2] - under[0]) * (under[3] - under[1]))


def _with_margin(box: Window, size: int) -> Window:
    share = MARGIN / (SIDE - 2 * MARGIN)
    wide, high = share * (box[2] - box[0]), share * (box[3] - box[1])
    return ((box[0] - wide) / size, (box[1] - high) / size, (box[2] + wide) / size, (box[3] + high) / size)
