"""How often the right one of several boxes is chosen: phrases with masks, guided detection, the box of the mask.

python benchmarks/chosen.py --referring DIR/referring.json --images DIR/images [--model nano] [--limit N] [--json]
reads what `chiasm eval --referring` reads; phrases that mean nothing in their picture are left out. `best` is the share
of phrases whose best box has an IoU of 0.5 or more with the tight box of the true mask, `among` the share of those of
which any of the first 24 boxes has, and `chosen` is the one by the other: how often the right one is taken where it is
there to be taken. Large are things of 96 x 96 pixels and more in a picture of 448 x 448.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chiasm
from agreement import SAME_THING, iou
from chiasm.evaluate.coco import CocoSet
from chiasm.evaluate.photos import Photo, find_photos
from chiasm.evaluate.referring import Referral, read_referring
from chiasm_registry import Boxes, Mask, ScoredBox

FIRST = 24  # boxes of a phrase that detection compares
EVERY = 1000  # the most that it may be asked for
LARGE = 96**2 / 448**2  # of the picture


@dataclass(frozen=True)
class Choice:
    """One phrase: whether its thing is large, its best box is right, any of its first boxes is."""

    large: bool
    best: bool
    among: bool


def first(items: Sequence[ScoredBox]) -> Sequence[ScoredBox]:
    """The best box, those that lost to it in the comparison, which have a score of 0, and then the others."""
    lost, others = [[item for item in items[1:] if bool(item.score) is kept] for kept in (False, True)]
    return [*items[:1], *lost, *others][:FIRST]


def judge(items: Sequence[ScoredBox], truth: Mask) -> Choice | None:
    """The boxes of a phrase, best first, held against the mask of what it means; None if that is empty."""
    box, (height, width) = truth.box(), truth.size_hw
    if box is None:
        return None
    right = [iou(item.box.xyxy, box.xyxy) >= SAME_THING for item in first(items)]
    return Choice(truth.area >= LARGE * height * width, right[:1] == [True], any(right))


def choices(model: chiasm.Model, photo: Photo, asked: Sequence[Referral]) -> list[Choice]:
    """The phrases of one photograph that mean something in it."""
    there = {one.phrase: Mask(rle=one.mask) for one in asked if one.mask is not None}
    if not there:
        return []
    result = model.run("detection", photo.open(), list(there), threshold=0.0, max_objects=EVERY)
    boxes = {output.phrase: output.items for output in result.outputs["detection"] if isinstance(output, Boxes)}
    judged = [judge(boxes.get(phrase, ()), truth) for phrase, truth in there.items()]
    return [choice for choice in judged if choice is not None]


def figures(judged: Sequence[Choice]) -> dict[str, float | None]:
    """The shares, None where there is nothing to have a share of."""
    best, among = (sum(getattr(one, name) for one in judged) for name in ("best", "among"))
    shares = {"best": (best, len(judged)), "among": (among, len(judged)), "chosen": (best, among)}
    return {"phrases": len(judged), **{name: some / of if of else None for name, (some, of) in shares.items()}}


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask every phrase and print the shares, of all things and of large ones."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--referring", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--limit", type=int, default=None, help="pictures, from the front")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    truth = read_referring(asked.referring)
    photos, _ = find_photos(CocoSet(truth.name, "", truth.images[: asked.limit], (), ()), asked.images)
    of_image: dict[int, list[Referral]] = defaultdict(list)
    for one in truth.requests:
        of_image[one.image_id].append(one)
    model = chiasm.load(asked.model, device=asked.device, tasks=["detection"])
    judged = [choice for photo in photos for choice in choices(model, photo, of_image[photo.image.id])]
    groups: dict[str, Any] = {"all": figures(judged), "large": figures([one for one in judged if one.large])}
    if asked.json:
        print(json.dumps(groups))
        return
    for group, found in groups.items():
        shares = "  ".join(f"{name} {'-' if found[name] is None else f'{found[name]:.3f}'}" for name in list(found)[1:])
        print(f"{group:5}  {found['phrases']:5} phrases  {shares}")


if __name__ == "__main__":
    main()
