"""Promises of the sample that a task's targets are made from."""

from __future__ import annotations

import numpy as np
from chiasm_registry import Mask, Sample, SampleObject

FULL = np.ones((4, 5), dtype=bool)


def sample(thing: SampleObject, **more: object) -> Sample:
    return Sample("1", (4, 5), (thing,), ("it",), ((0,),), **more)  # type: ignore[arg-type]


def test_a_mask_is_the_objects_own_or_drawn_or_unknown() -> None:
    drawn = np.eye(4, 5, dtype=bool)
    own = SampleObject("dog", (0, 0, 5, 4), mask=Mask.from_numpy(FULL))
    bare = SampleObject("dog", (0, 0, 5, 4))
    assert np.array_equal(sample(own, draw=lambda k: drawn).mask(0), FULL)
    assert np.array_equal(sample(bare, draw=lambda k: drawn).mask(0), drawn)
    assert sample(bare).mask(0) is None
