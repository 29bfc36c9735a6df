"""The run-length coder agrees with pycocotools on honest masks and refuses what would harm native code."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from chiasm_registry.errors import InputError
from chiasm_registry.rle import check_rle, mask_to_rle, rle_to_mask
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

SIDES = st.integers(1, 40)


def coco_rle(mask: np.ndarray) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}


@settings(max_examples=300, deadline=None)
@given(hnp.arrays(np.bool_, st.tuples(SIDES, SIDES)))
def test_honest_masks_are_encoded_and_decoded_as_pycocotools_does(mask: np.ndarray) -> None:
    ours = mask_to_rle(mask)
    assert coco_rle(mask) == ours
    assert np.array_equal(mask, rle_to_mask(ours))
    assert np.array_equal(mask, coco_mask.decode(ours).astype(bool))


@pytest.mark.parametrize("density", [0.0, 0.001, 0.5, 0.999, 1.0])
def test_large_masks_with_long_runs_agree_with_pycocotools(density: float) -> None:
    mask = np.random.default_rng(0).random((480, 640)) < density
    assert coco_rle(mask) == mask_to_rle(mask)
    assert np.array_equal(mask, rle_to_mask(coco_rle(mask)))


def test_mutants_are_refused_or_decode_to_a_whole_mask() -> None:
    """Byte flips, cuts, appended bytes and noise: what gets through is a valid code, and pycocotools agrees on it."""
    draw = random.Random(0)
    honest = coco_rle(np.random.default_rng(1).random((16, 16)) < 0.4)
    came_through = 0
    for number in range(600):
        mutant = bytearray(honest["counts"].encode())
        place = draw.randrange(len(mutant))
        if number % 4 == 0:
            mutant[place] = draw.randrange(256)
        elif number % 4 == 1:
            del mutant[place:]
        elif number % 4 == 2:
            mutant += bytes(draw.randrange(48, 112) for _ in range(draw.randrange(1, 9)))
        else:
            mutant = bytearray(draw.randrange(256) for _ in range(draw.randrange(0, 30)))
        rle = {"size": [16, 16], "counts": bytes(mutant)}
        try:
            mask = rle_to_mask(rle)
        except InputError:
            continue
        came_through += 1
        assert np.array_equal(mask, coco_mask.decode(check_rle(rle)).astype(bool))
    assert came_through < 60


@pytest.mark.parametrize(
    ("rle", "why"),
    [
        (None, "must be an object"),
        ({"size": [4, 4]}, "must be an object"),
        ({"size": [4, 4], "counts": "0", "more": 1}, "must be an object"),
        ({"size": [0, 0], "counts": "0"}, "is empty or has"),
        ({"size": [70_000, 70_000], "counts": "0"}, "is empty or has"),
        ({"size": [4.0, 4], "counts": "`0"}, "whole numbers"),
        ({"size": [True, 4], "counts": "4"}, "whole numbers"),
        ({"size": [4], "counts": "4"}, "whole numbers"),
        ({"size": [4, 4], "counts": ""}, "length 0"),
        ({"size": [4, 4], "counts": []}, "length 0"),
        ({"size": [4, 4], "counts": 16}, "text or a list"),
        ({"size": [4, 4], "counts": "é"}, "not ASCII"),
        ({"size": [4, 4], "counts": "\x00"}, "outside '0' to 'o'"),
        ({"size": [4, 4], "counts": "`"}, "in the middle of a run"),
        ({"size": [4, 4], "counts": "`" * 7 + "0"}, "8 characters"),
        ({"size": [4, 4], "counts": "4"}, "sum to 4"),
        ({"size": [4, 4], "counts": "O"}, "outside 0 to 16"),
        ({"size": [4, 4], "counts": [8, 4]}, "sum to 12"),
        ({"size": [4, 4], "counts": [8.0, 8]}, "whole numbers from 0 to 16"),
        ({"size": [4, 4], "counts": ["8", 8]}, "whole numbers from 0 to 16"),
        ({"size": [4, 4], "counts": [-1, 17]}, "whole numbers from 0 to 16"),
        ({"size": [4, 4], "counts": [10**30]}, "whole numbers from 0 to 16"),
    ],
)
def test_what_does_not_fit_its_size_is_refused_in_one_line(rle: object, why: str) -> None:
    with pytest.raises(InputError) as caught:
        check_rle(rle)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 200


def test_a_mask_of_another_size_than_its_image_is_refused() -> None:
    rle = mask_to_rle(np.zeros((4, 5), dtype=bool))
    assert check_rle(rle, (4, 5)) == rle
    with pytest.raises(InputError, match="its image is"):
        check_rle(rle, (5, 4))


def test_a_list_of_runs_becomes_the_same_compressed_code() -> None:
    mask = np.random.default_rng(2).random((9, 7)) < 0.5
    pixels = mask.ravel(order="F").astype(int)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], pixels])))
    runs = np.diff(np.concatenate([[0], edges, [pixels.size]])).tolist()
    assert check_rle({"size": [9, 7], "counts": runs}) == mask_to_rle(mask)


@pytest.mark.parametrize(
    "mask", [np.zeros((2, 2)), np.zeros((2, 2), np.uint16), np.zeros(4, bool), np.zeros((0, 3), bool), [[True]]]
)
def test_only_bool_arrays_with_two_axes_are_encoded(mask: Any) -> None:
    with pytest.raises(InputError):
        mask_to_rle(mask)
