"""What a phrase should have drawn, seen in a training image: the objects of the view and the names the phrase means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chiasm_registry import Sample
from chiasm_registry.contract import SampleObject


@dataclass(frozen=True, eq=False)
class PictureTarget:
    """A phrase's truth: the names it stands for, the objects it means, and every object of the same view."""

    meaning: tuple[str, ...]  # () for a word that is none of the known names
    matches: tuple[int, ...]  # positions in `objects`
    objects: tuple[SampleObject, ...]


def picture_targets(sample: Sample) -> Sequence[PictureTarget]:
    """A target for each of the sample's phrases."""
    return [
        PictureTarget(meaning, matches, sample.objects)
        for meaning, matches in zip(sample.meanings, sample.matches, strict=True)
    ]
