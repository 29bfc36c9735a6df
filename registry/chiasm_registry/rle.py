"""COCO's run-length code, read and written by ourselves: no run that does not fit its image ever reaches native code.

A mask's runs alternate background, foreground, ... down its columns, background first (possibly 0 long). Compressed,
each run (from the fourth on: its difference to the run two before) is a little-endian row of 5-bit groups, one
character a group: 48 + group, + 32 when more follow; the last group's bit 16 is the sign. This is the form of
pycocotools (`maskApi.c`), byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from .errors import InputError, shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Runs = NDArray[np.int64]

MAX_PIXELS = 2**31 - 1  # pycocotools counts in 32 bits
MAX_COUNTS = 2**28  # characters; keeps every sum below inside 64 bits
MAX_GROUPS = 7  # of one run: 35 bits, enough for any difference of two runs


class Rle(TypedDict):
    """A compressed mask as COCO files hold it: `size` is [height, width]."""

    size: list[int]
    counts: str


def check_rle(rle: object, size_hw: tuple[int, int] | None = None) -> Rle:
    """A clean copy of `rle`, its counts compressed, or an InputError; with `size_hw` the mask must have that size.

    Counts may be compressed (str, ASCII bytes) or a list of runs, as COCO writes crowds.
    """
    size, counts = _parts(rle, size_hw)
    runs = _runs(size, counts)
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    return {"size": [size[0], size[1]], "counts": text if isinstance(text, str) else _compressed(runs)}


def rle_to_runs(rle: object) -> Runs:
    """The checked lengths of all runs, background first; they sum to height times width."""
    return _runs(*_parts(rle, None))


def rle_to_mask(rle: object) -> NDArray[np.bool_]:
    """The bool mask (h, w) of a run-length code, checked first."""
    import numpy as np

    (height, width), counts = _parts(rle, None)
    runs = _runs((height, width), counts)
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def mask_to_rle(mask: NDArray[np.bool_]) -> Rle:
    """The run-length code of a bool mask (h, w)."""
    import numpy as np

    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.ndim != 2:
        raise InputError("a mask must be a bool array of shape (h, w); compare with a threshold first")
    height, width = _checked_size(list(mask.shape), None)
    pixels = mask.ravel(order="F")
    edges = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    starts = [0, 0] if pixels[0] else [0]  # a mask that begins with foreground has an empty background run first
    bounds = np.concatenate([starts, edges, [pixels.size]]).astype(np.int64)
    return {"size": [height, width], "counts": _compressed(np.diff(bounds))}


def _parts(rle: object, size_hw: tuple[int, int] | None) -> tuple[tuple[int, int], str | bytes | Sequence[Any]]:
    if not isinstance(rle, Mapping) or set(rle) != {"size", "counts"}:
        raise InputError("a mask's run-length code must be an object with `size` and `counts`, and nothing else")
    counts = rle["counts"]
    if not isinstance(counts, (str, bytes, list, tuple)):
        raise InputError(f"a mask's counts must be text or a list of runs, not {type(counts).__name__}")
    return _checked_size(rle["size"], size_hw), counts


def _checked_size(size: object, size_hw: tuple[int, int] | None) -> tuple[int, int]:
    if not isinstance(size, (list, tuple)) or len(size) != 2 or not all(type(side) is int for side in size):
        raise InputError(f"a mask's size must be [height, width] in whole numbers, not {shown(repr(size), 40)}")
    height, width = size
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise InputError(f"a mask of size {shown([height, width], 40)} is empty or has {MAX_PIXELS + 1} pixels or more")
    if size_hw is not None and (height, width) != tuple(size_hw):
        raise InputError(f"a mask has size [{height}, {width}], its image is {tuple(size_hw)} (height, width)")
    return height, width


def _runs(size: tuple[int, int], counts: str | bytes | Sequence[Any]) -> Runs:
    import numpy as np

    pixels = size[0] * size[1]
    if len(counts) == 0 or len(counts) > MAX_COUNTS:
        raise InputError(f"a mask's counts have length {len(counts)}; they must have from 1 to {MAX_COUNTS}")
    if isinstance(counts, (str, bytes)):
        runs = _expanded(counts)
    elif all(type(run) is int and 0 <= run <= pixels for run in counts):
        runs = np.asarray(counts, dtype=np.int64)
    else:
        raise InputError(f"a mask's runs must be whole numbers from 0 to {pixels}, its height times width")
    if runs.min() < 0 or runs.max() > pixels:
        raise InputError(f"a mask has a run outside 0 to {pixels}, its height times width")
    if runs.sum() != pixels:
        raise InputError(f"a mask's runs sum to {runs.sum()}, but its size {list(size)} has {pixels} pixels")
    return runs


def _expanded(counts: str | bytes) -> Runs:
    import numpy as np

    if isinstance(counts, str) and not counts.isascii():
        raise InputError("a mask's counts hold a character that is not ASCII")
    characters = np.frombuffer(counts.encode("ascii") if isinstance(counts, str) else counts, dtype=np.uint8)
    if characters.min() < 48 or characters.max() > 111:
        raise InputError("a mask's counts hold a character outside '0' to 'o'")
    groups = characters.astype(np.int64) - 48
    last = np.flatnonzero(groups & 32 == 0)
    if len(last) == 0 or last[-1] != len(groups) - 1:
        raise InputError("a mask's counts end in the middle of a run")
    first = np.concatenate([[0], last[:-1] + 1])
    lengths = last - first + 1
    if lengths.max() > MAX_GROUPS:
        raise InputError(f"a mask's counts hold a run of {lengths.max()} characters; {MAX_GROUPS} are the most")
    shifts = 5 * (np.arange(len(groups)) - np.repeat(first, lengths))
    values = np.add.reduceat((groups & 31) << shifts, first)
    values -= (groups[last] & 16 != 0).astype(np.int64) << (5 * lengths)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _compressed(runs: Runs) -> str:
    import numpy as np

    rest = runs.copy()
    rest[3:] -= runs[1:-2]
    groups = np.zeros((len(rest), MAX_GROUPS), dtype=np.uint8)
    used = np.zeros(groups.shape, dtype=np.bool_)
    open_runs = np.ones(len(rest), dtype=np.bool_)
    for place in range(MAX_GROUPS):
        group = rest & 31
        rest >>= 5
        more = rest != np.where(group & 16, -1, 0)
        groups[:, place] = group + 48 + 32 * more
        used[:, place] = open_runs
        open_runs &= more
        if not open_runs.any():
            break
    return groups[used].tobytes().decode("ascii")
