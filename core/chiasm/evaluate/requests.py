"""What free evaluation asks of each image: some names, of which some are absent, and everything; seeded by image id."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from .coco import CocoSet
from .phrasings import Phrasings

FEWEST, MOST = 2, 5  # names in one question


@dataclass(frozen=True)
class NamesInImage:
    """What the truth says of one image; a name that stands only on crowds is in neither."""

    present: frozenset[str]
    absent: frozenset[str]


@dataclass(frozen=True)
class Ask:
    """One question; `names` is empty where everything is asked for, `likely` says how its absent names were chosen."""

    prompt: str
    names: tuple[str, ...] = ()
    likely: bool = False


class Asker:
    """Composes the two questions of an image: the same ones whatever the order, the batch or the number of images."""

    def __init__(self, truth: CocoSet, phrasings: Phrasings) -> None:
        self.truth = names_in_images(truth)
        self._phrasings = phrasings
        self._together = _together(self.truth)

    def names(self, image_id: int) -> Ask:
        """Two to five names, at least one of them absent, and at least one present if the image has any."""
        rng = Random(f"{image_id} names")
        truth, likely = self.truth[image_id], rng.random() < 0.5
        wanted = min(rng.randint(FEWEST, MOST), len(truth.present) + len(truth.absent))
        n_absent = min(rng.randint(1, max(1, wanted - 1)), len(truth.absent))
        present = rng.sample(sorted(truth.present), min(wanted - n_absent, len(truth.present)))
        n_absent = min(wanted - len(present), len(truth.absent))
        pool = sorted(truth.absent)
        absent = self._likely(image_id, pool, n_absent, rng) if likely else rng.sample(pool, n_absent)
        names = [*present, *absent]
        rng.shuffle(names)
        return Ask(self._phrasings.asking(tuple(names), rng), tuple(names), likely)

    def everything(self, image_id: int) -> Ask:
        """A question for all there is."""
        return Ask(Random(f"{image_id} everything").choice(self._phrasings.everything))

    def _likely(self, image_id: int, pool: Sequence[str], count: int, rng: Random) -> list[str]:
        """Absent names drawn by how often they stand together with what is present."""
        weights = dict.fromkeys(pool, 0.0)
        for present in self.truth[image_id].present:
            for name, share in self._together[present].items():
                if name in weights:
                    weights[name] += share
        drawn: list[str] = []
        while len(drawn) < count:
            left = [name for name in pool if name not in drawn]
            likely = [name for name in left if weights[name] > 0]
            drawn += rng.choices(likely, [weights[name] for name in likely]) if likely else [rng.choice(left)]
        return drawn


def names_in_images(truth: CocoSet) -> dict[int, NamesInImage]:
    """For each image id the names that are there and those that are not."""
    names = {category.id: category.name for category in truth.categories}
    single: dict[int, set[str]] = defaultdict(set)
    any_kind: dict[int, set[str]] = defaultdict(set)
    for annotation in truth.annotations:
        any_kind[annotation.image_id].add(names[annotation.category_id])
        if not annotation.crowd:
            single[annotation.image_id].add(names[annotation.category_id])
    everything = frozenset(names.values())
    return {i.id: NamesInImage(frozenset(single[i.id]), everything - any_kind[i.id]) for i in truth.images}


def _together(truth: Mapping[int, NamesInImage]) -> dict[str, dict[str, float]]:
    """For each name the share of its images in which another name stands too."""
    images: Counter[str] = Counter()
    pairs: dict[str, Counter[str]] = defaultdict(Counter)
    for image in truth.values():
        images.update(image.present)
        for name in image.present:
            pairs[name].update(image.present - {name})
    return defaultdict(dict, {
        name: {other: count / images[name] for other, count in sorted(others.items())} for name, others in pairs.items()
    })
