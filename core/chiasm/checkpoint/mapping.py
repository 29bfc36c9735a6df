"""Several places of a file as one stretch of memory: their pages are mapped in that order, and nothing is copied."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

Span = tuple[int, int]  # a place in a file and a length, in bytes

_MAP_FIXED = 0x10  # Linux's; Python does not name it


def mapped_together(descriptor: int, spans: Sequence[Span]) -> tuple[mmap.mmap, int] | None:
    """Memory that holds the bytes of `spans` one after the other, and where in it they begin.

    None where that cannot be: other systems than Linux, lengths that are no whole pages, places that do not lie equally
    far behind the beginning of theirs. What is written to the memory never reaches the file.
    """
    page = mmap.PAGESIZE
    lead = spans[0][0] % page
    if sys.platform != "linux" or any(length % page or start % page != lead for start, length in spans):
        return None
    room = mmap.mmap(-1, sum(length for _, length in spans) + page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    base = ctypes.addressof(ctypes.c_char.from_buffer(room))
    flags, place = (mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | _MAP_FIXED), 0
    for start, length in spans:  # over pages of the room alone, which gives all of them back when it goes
        if _mmap()(base + place, length, *flags, descriptor, start - lead) != base + place:
            return None
        place += length
    place = 0
    for start, length in spans:  # a span's last bytes lie on the page where the next one begins
        place += length
        tail = os.pread(descriptor, lead, start + length - lead)
        if len(tail) != lead:
            return None
        room[place : place + lead] = tail
    return room, lead


@cache
def _mmap() -> Any:
    function = ctypes.CDLL(None, use_errno=True).mmap
    function.restype = ctypes.c_void_p
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
    return function
