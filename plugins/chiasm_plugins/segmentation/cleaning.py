"""Small islands and holes of a mask, and the pieces it is made of.

The rule: of the pieces that touch side by side, one with less than a hundredth of the mask's cells is an island and
goes; of what is not mask, a piece of less than a hundredth of the mask's cells that does not reach the grid's edge is a
hole and is filled. The largest piece always stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bits = NDArray[np.bool_]

SMALL = 0.01  # of the mask's cells


def clean(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logits (h, w) with the sign turned of islands and holes, in a copy."""
    inside = logits > 0
    few = SMALL * inside.sum()
    if few < 1:
        return logits
    turned = np.zeros_like(inside)
    labels, sizes = pieces(inside)
    islands = sizes < few
    islands[sizes.argmax()] = False
    turned |= inside & islands[labels]
    labels, sizes = pieces(~inside)
    holes = sizes < few
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    outside = np.concatenate([~inside[0], ~inside[-1], ~inside[:, 0], ~inside[:, -1]])
    holes[border[outside]] = False
    turned |= ~inside & holes[labels]
    return np.where(turned, -logits, logits) if turned.any() else logits


def pieces(inside: Bits) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers (h, w) of the pieces that touch side by side, 0 .. n - 1 (anything outside), and their sizes (n,).

    Runs along the rows are joined with those that they overlap in the row above.
    """
    framed = np.zeros((inside.shape[0], inside.shape[1] + 2), dtype=np.int8)
    framed[:, 1:-1] = inside
    step = np.diff(framed, axis=1)
    rows, starts = np.nonzero(step == 1)
    ends = np.nonzero(step == -1)[1]
    if not len(rows):
        return np.zeros(inside.shape, dtype=np.int64), np.zeros(1, dtype=np.int64)
    root = _joined(rows, starts, ends)
    names, number = np.unique(root, return_inverse=True)
    sizes = np.bincount(number, weights=ends - starts, minlength=len(names)).astype(np.int64)
    marks = np.zeros(framed.shape, dtype=np.int64)  # each run's number from its start on, taken back at its end
    np.add.at(marks, (rows, starts), number)
    np.add.at(marks, (rows, ends), -number)
    return marks.cumsum(1)[:, : inside.shape[1]], sizes


def _joined(rows: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each run the first run of its piece."""
    above = np.stack([rows * 2**20 + starts, rows * 2**20 + ends])
    first = np.searchsorted(above[1], (rows - 1) * 2**20 + starts, side="right")
    last = np.searchsorted(above[0], (rows - 1) * 2**20 + ends, side="left")
    counts = np.maximum(last - first, 0)
    low = np.repeat(np.arange(len(rows)), counts)
    high = np.repeat(first - np.concatenate([[0], counts.cumsum()[:-1]]), counts) + np.arange(counts.sum())
    root = np.arange(len(rows))
    while True:  # every run takes the smallest name among those it touches, then its name's own name
        smallest = root.copy()
        np.minimum.at(smallest, low, root[high])
        np.minimum.at(smallest, high, root[low])
        smallest = smallest[smallest]
        if np.array_equal(smallest, root):
            return root
        root = smallest
