"""JSON to the letter: refuses NaN, infinities, duplicate keys, lone surrogates, a BOM, depth and huge numbers.

Every fault is one line of the caller's `error`, with the file's name in front and line:column where there is one.
"""

from __future__ import annotations

import codecs
import json
import math
import os
import re
import stat
from itertools import accumulate
from pathlib import Path
from typing import Any, NoReturn

from chiasm_registry.errors import ChiasmError, InputError, shown, shown_path

from .limits import LIMITS, Limits

MAX_DIGITS = 20  # of a whole number; more are no id, no count and no pixel

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # the closing quote is optional: linear on broken files too
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|-?(?:NaN|Infinity|\d[\d.eE+-]*)', re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class _NotStrictError(Exception):
    """What the standard or a limit forbids, and where: at `place`, or where `literal` stands in the text."""

    def __init__(self, fact: str, literal: str | None = None, *, place: str = "") -> None:
        super().__init__(fact)
        self.literal, self.place = literal, place


def read_bytes(path: Path, limits: Limits = LIMITS) -> bytes:
    """The bytes of a regular file of at most `limits.json_bytes`; an InputError names the path and what is wrong."""
    name = shown_path(path, 60)
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe must not hold us here
    except (OSError, ValueError):
        raise InputError(f"{name}: no such file, or it may not be read; check the path") from None
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        raise InputError(f"{name}: not a regular file; give the path of a JSON file")
    with os.fdopen(handle, "rb") as file:
        if status.st_size > limits.json_bytes:
            raise InputError(f"{name}: {status.st_size:,} bytes, the limit is {limits.json_bytes:,}; split the file")
        data = file.read(limits.json_bytes + 1)
    if len(data) > limits.json_bytes:
        raise InputError(f"{name}: grew over the limit of {limits.json_bytes:,} bytes while it was read")
    return data


def read_json(path: Path, limits: Limits = LIMITS) -> Any:
    """The value in a strict JSON file; an InputError names the file, and line:column where there is one."""
    return parse_json(read_bytes(path, limits), shown_path(path, 60), limits)


def parse_object(
    data: bytes | bytearray, name: str, limits: Limits = LIMITS, *, error: type[ChiasmError] = InputError
) -> dict[str, Any]:
    """As `parse_json`, for files that hold one object."""
    value = parse_json(data, name, limits, error=error)
    if not isinstance(value, dict):
        raise error(f"{name}: must hold a JSON object, not a {type(value).__name__}")
    return value


def parse_json(
    data: bytes | bytearray,
    name: str,
    limits: Limits = LIMITS,
    *,
    error: type[ChiasmError] = InputError,
    finite: bool = True,
) -> Any:
    """The value of strict JSON in UTF-8; `name` stands in front of every message.

    With `finite=False` NaN, Infinity and numbers that are too large come through, for a reader that names their row.
    """
    numbers: dict[str, Any] = {"parse_float": _float, "parse_constant": _constant} if finite else {}
    try:
        text = _decoded(data)
        _check_depth(data, limits.json_depth)
        value = json.loads(text, parse_int=_int, object_pairs_hook=_object, **numbers)
        if _SURROGATE.search(data):
            _refuse_surrogates(value)
    except json.JSONDecodeError as fault:
        raise error(f"{name}:{fault.lineno}:{fault.colno}: not JSON here; the file is cut or damaged") from None
    except _NotStrictError as fault:
        raise error(f"{name}{fault.place or _place(text, fault.literal)}: {fault}") from None
    return value


def _check_depth(data: bytes | bytearray, most: int) -> None:
    """Brackets outside strings are counted before anything is parsed: the parser would recurse."""
    depth = max(accumulate(map(_STEP.__getitem__, _STRING.sub(b"", data).translate(None, _NOT_BRACKETS))), default=0)
    if depth > most:
        raise _NotStrictError(f"nested {depth:,} deep; at most {most} levels are read")


def _decoded(data: bytes | bytearray) -> str:
    if data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _NotStrictError("begins with a byte order mark; save it as UTF-8 without BOM", place=":1:1")
    if not data.strip():
        raise _NotStrictError("empty; it must hold JSON", place=":1:1")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as fault:
        line = data.count(b"\n", 0, fault.start) + 1
        column = fault.start - data.rfind(b"\n", 0, fault.start)
        raise _NotStrictError("not UTF-8 here; save the file as UTF-8", place=f":{line}:{column}") from None


def _place(text: str, literal: str | None) -> str:
    """`:line:column` of a literal that stands outside strings."""
    if literal is None:
        return ""
    start = next((match.start() for match in _TOKEN.finditer(text) if match.group() == literal), None)
    if start is None:
        return ""
    return f":{text.count(chr(10), 0, start) + 1}:{start - text.rfind(chr(10), 0, start)}"


def _float(literal: str) -> float:
    value = float(literal)
    if not math.isfinite(value):
        raise _NotStrictError(f"{shown(literal, 30)} is too large for a number", literal)
    return value


def _int(literal: str) -> int:
    if len(literal) > MAX_DIGITS:
        raise _NotStrictError(f"a whole number of {len(literal):,} characters; at most {MAX_DIGITS} are read", literal)
    return int(literal)


def _constant(literal: str) -> NoReturn:
    raise _NotStrictError(f"{literal} is not JSON; write a finite number", literal)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for place, key in enumerate(keys) if key in keys[:place])
        raise _NotStrictError(f"the key '{shown(twice, 60)}' stands twice in one object; keep one")
    return row


def _refuse_surrogates(value: Any) -> None:
    """Escapes such as \\ud800 without their second half: no file and no terminal can hold them."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item.keys())
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, str) and any("\ud800" <= letter <= "\udfff" for letter in item):
            raise _NotStrictError(f"text with half a character (a lone surrogate escape): '{shown(item, 40)}'")
