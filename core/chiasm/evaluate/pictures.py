"""Evaluation of a task that makes pictures: is what was asked for named by detectors that had no part in making them?

For each name pictures of the seeds 0, 1, ... are drawn and enlarged, and each judge says the one name it sees most
clearly; beside it the same judge on crops of true things, cut and scaled alike. Colours are measured on pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chiasm_registry import Picture, Task
from chiasm_registry.errors import InputError, shown, shown_path

from ..files import write_json
from .coco import CocoAnnotation, CocoSet
from .colours import COLOURS, has_colour
from .photos import Photo, find_photos
from .sheet import contact_sheet

if TYPE_CHECKING:
    from PIL import Image

    from ..model import Model
    from .judges import Judge

FREQUENT = 20  # names that are drawn when the caller names none
SMALLEST_PX = 64  # of a true thing's longer side
ROOM = 1.25  # side of a crop over the longer side of its box
CROP_PX = 128  # to which crops are scaled: as much is to be seen as in a picture
SHOWN = 10  # pictures of a name on the sheet
PAINTED = ("car", "bus", "truck", "umbrella", "chair", "boat", "bottle", "suitcase", "handbag", "motorcycle")
COLOURED_NAMES = 4  # of those, and not more, each in every colour
COLOURED_SEEDS = 10


@dataclass(frozen=True)
class PicturePlan:
    """What is drawn and measured; `names` () are the most frequent ones of the truth."""

    truth: CocoSet
    images: Path
    task: str
    names: tuple[str, ...] = ()
    seeds: int = 20
    out: Path | None = None
    skip_missing: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)  # of the task, the same for every picture

    def drawn(self) -> tuple[str, ...]:
        """The names to draw; an InputError for one that the truth does not have."""
        known = {category.id: category.name for category in self.truth.categories}
        for name in self.names:
            if name not in known.values():
                raise InputError(f"{self.truth.name}: has no category {shown(repr(name), 40)}; --names takes its names")
        counts = Counter(known[a.category_id] for a in self.truth.annotations if _worth_a_crop(a))
        frequent = tuple(name for name, _ in counts.most_common(FREQUENT))
        if not self.names and not frequent:
            fact = f"has nothing of {SMALLEST_PX} pixels or more to be compared with"
            raise InputError(f"{self.truth.name}: {fact}; say with --names what to draw")
        return self.names or frequent

    def in_colour(self) -> tuple[str, ...]:
        """Those of the drawn names that are asked for in every colour too."""
        return tuple(name for name in PAINTED if name in self.drawn())[:COLOURED_NAMES]

    def count(self) -> int:
        """How many pictures are drawn."""
        coloured = len(self.in_colour()) * len(COLOURS) * min(self.seeds, COLOURED_SEEDS)
        return len(self.drawn()) * self.seeds + coloured


def makes_pictures(task: Task) -> bool:
    """Whether pictures are what the task answers with."""
    return issubclass(task.spec.output, Picture)


def draw_and_judge(
    plan: PicturePlan, model: Model, judges: Sequence[Judge], advance: Callable[[int], None] = lambda pictures: None
) -> dict[str, Any]:
    """The report; with `plan.out` it is written there beside `sheet.png`."""
    names = plan.drawn()
    if plan.out is not None:
        _make(plan.out)
    real = real_crops(plan, names)  # before the long work: a photograph may be missing
    drawn = {name: _draw(plan, model, name, plan.seeds, advance) for name in names}
    coloured = _coloured(plan, model, advance)
    colours = _colour_report(coloured, drawn)
    report: dict[str, Any] = {"task": plan.task, "seeds": plan.seeds, "options": dict(plan.options), "judges": {}}
    report["colours"] = colours
    for judge in judges:
        rows = {name: _judged(judge, name, drawn[name], real[name]) for name in names}
        report["judges"][judge.name] = {"drawn": _mean(rows, "drawn"), "real": _mean(rows, "real"), "names": rows}
    if plan.out is not None:
        rows_shown = [*drawn.items(), *((f"{colour} {name}", found) for (colour, name), found in coloured.items())]
        contact_sheet([(title, found[:SHOWN]) for title, found in rows_shown], plan.out / "sheet.png")
        write_json(plan.out / "report.json", report)
    return report


def as_lines(report: dict[str, Any]) -> list[str]:
    """The report for people."""
    lines = []
    for judge, told in report["judges"].items():
        drawn, real = _percent(told["drawn"]), _percent(told["real"])
        lines.append(f"named right by {shown(judge, 60)}: drawn {drawn}, crops of true things {real}")
        for name, row in told["names"].items():
            mistaken = shown(", ".join(row["mistaken_for"]), 200) or "nothing else"
            drawn, real = _percent(row["drawn"]), _percent(row["real"])
            lines.append(f"  {shown(name, 60):<16} {drawn:>5}  true {real:>5}  else: {mistaken}")
    colours = report["colours"]
    there, unasked = _percent(colours["there"]), _percent(colours["unasked"])
    lines.append(f"colours asked for: there {there}, without asking {unasked}")
    lines += [f"  {colour:<16} {_percent(share):>5}" for colour, share in colours["each"].items()]
    return lines


def real_crops(plan: PicturePlan, names: Sequence[str]) -> dict[str, list[Image.Image]]:
    """For each name at most `seeds` crops of true things, in the order of the file."""
    known = {category.id: category.name for category in plan.truth.categories}
    wanted: dict[int, list[tuple[str, CocoAnnotation]]] = {}
    counts: Counter[str] = Counter()
    for annotation in plan.truth.annotations:
        name = known[annotation.category_id]
        if name in names and counts[name] < plan.seeds and _worth_a_crop(annotation):
            counts[name] += 1
            wanted.setdefault(annotation.image_id, []).append((name, annotation))
    crops: dict[str, list[Image.Image]] = {name: [] for name in names}
    if not wanted:
        return crops
    photos, _ = find_photos(plan.truth.only_images(wanted), plan.images, skip_missing=plan.skip_missing)
    for photo in photos:
        for name, annotation in wanted[photo.image.id]:
            crops[name].append(_crop(photo, annotation))
    return crops


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError):
        where = shown_path(folder, 100)
        raise InputError(f"cannot make the folder {where} for --out; is a file in its place?") from None


def _crop(photo: Photo, annotation: CocoAnnotation) -> Image.Image:
    """A square round the box, moved into the photograph and, where it does not fit, shrunk."""
    from PIL import Image

    x, y, width, height = annotation.bbox_xywh
    high, wide = photo.image.size_hw
    side = min(ROOM * max(width, height), high, wide)
    left = min(max(x + width / 2 - side / 2, 0.0), wide - side)
    top = min(max(y + height / 2 - side / 2, 0.0), high - side)
    box = (left, top, left + side, top + side)
    return photo.open().resize((CROP_PX, CROP_PX), Image.Resampling.BICUBIC, box=box)


def _worth_a_crop(annotation: CocoAnnotation) -> bool:
    return not annotation.crowd and max(annotation.bbox_xywh[2:]) >= SMALLEST_PX


def _draw(
    plan: PicturePlan, model: Model, phrase: str, seeds: int, advance: Callable[[int], None]
) -> list[Image.Image]:
    pictures = []
    for seed in range(seeds):
        result = model.run(plan.task, None, [phrase], seed=seed, **plan.options)
        if not result.pictures:
            raise InputError(f"no picture of {shown(repr(phrase), 40)}: {shown(result.notices[0].text, 100)}")
        pictures.append(result.pictures[0].image)
        advance(1)
    return pictures


def _coloured(
    plan: PicturePlan, model: Model, advance: Callable[[int], None]
) -> dict[tuple[str, str], list[Image.Image]]:
    seeds = min(plan.seeds, COLOURED_SEEDS)
    return {(c, name): _draw(plan, model, f"{c} {name}", seeds, advance) for name in plan.in_colour() for c in COLOURS}


def _colour_report(
    coloured: dict[tuple[str, str], list[Image.Image]], drawn: dict[str, list[Image.Image]]
) -> dict[str, Any]:
    """How often a colour asked for is there, and how often it is in the same names' pictures when nobody asked."""
    each: dict[str, list[bool]] = {colour: [] for colour in COLOURS}
    unasked: list[bool] = []
    for (colour, name), found in coloured.items():
        each[colour] += [has_colour(picture, colour) for picture in found]
        unasked += [has_colour(picture, colour) for picture in drawn[name]]
    shares = {colour: _share(found) for colour, found in each.items()}
    there = _share([hit for found in each.values() for hit in found])
    return {"there": there, "unasked": _share(unasked), "each": shares}


def _judged(judge: Judge, name: str, drawn: Sequence[Image.Image], real: Sequence[Image.Image]) -> dict[str, Any]:
    said = judge.top(drawn)
    wrong = Counter(other for other in said if other != name).most_common(3)
    return {
        "drawn": _share([one == name for one in said]),
        "real": _share([one == name for one in judge.top(real)] if real else []),
        "mistaken_for": [f"{other or 'nothing'} {count}" for other, count in wrong],
    }


def _share(hits: Sequence[bool]) -> float | None:
    return sum(hits) / len(hits) if hits else None


def _mean(rows: dict[str, dict[str, Any]], key: str) -> float | None:
    values = [row[key] for row in rows.values() if row[key] is not None]
    return sum(values) / len(values) if values else None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
