"""Places of a file as one stretch of memory: their bytes in that order, or None; never a change to the file."""

from __future__ import annotations

import mmap
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from chiasm.checkpoint.mapping import mapped_together

PAGE = mmap.PAGESIZE
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux is asked")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[tuple[int, bytes]]:
    data = random.Random(0).randbytes(20 * PAGE + 99)
    (tmp_path / "file").write_bytes(data)
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    yield descriptor, data
    os.close(descriptor)


@pytest.mark.parametrize("lead", [0, 2, 864, PAGE - 8])
@pytest.mark.parametrize("pages", [[(3, 1)], [(9, 2), (0, 3), (4, 1)], [(1, 2), (3, 2), (18, 1)]])
def test_the_bytes_stand_one_after_the_other(
    file: tuple[int, bytes], lead: int, pages: list[tuple[int, int]]
) -> None:
    descriptor, data = file
    spans = [(lead + first * PAGE, count * PAGE) for first, count in pages]
    found = mapped_together(descriptor, spans)
    assert found is not None
    room, begin = found
    wanted = b"".join(data[start : start + length] for start, length in spans)
    assert room[begin : begin + len(wanted)] == wanted
    room[begin : begin + len(wanted)] = bytes(len(wanted))
    assert os.pread(descriptor, len(data), 0) == data


@pytest.mark.parametrize(
    "spans", [[(0, PAGE), (PAGE, 8)], [(0, PAGE), (PAGE + 8, PAGE)], [(99 + 19 * PAGE, PAGE), (100 + 19 * PAGE, PAGE)]]
)
def test_what_cannot_be_mapped_is_none(file: tuple[int, bytes], spans: list[tuple[int, int]]) -> None:
    """Parts of a page, and places that lie differently on theirs."""
    assert mapped_together(file[0], spans) is None


def test_what_ends_behind_the_file_is_none(file: tuple[int, bytes]) -> None:
    assert mapped_together(file[0], [(100, PAGE), (100 + 19 * PAGE, PAGE)]) is None
