"""JSON to the letter: refuses NaN, infinities, duplicate keys, lone surrogates, a BOM, depth and huge numbers."""

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

from chiasm_registry.errors import InputError, shown

from ..limits import LIMITS, Limits

MAX_DIGITS = 20  # of a whole number; more are no id, no count and no pixel

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # the closing quote is optional: linear on broken files too
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"?|-?(?:NaN|Infinity|\d[\d.eE+-]*)', re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class _LiteralError(Exception):
    """A literal or a key that the standard or a limit forbids; `literal` is looked up in the text for its place."""

    def __init__(self, fact: str, literal: str | None = None) -> None:
        super().__init__(fact)
        self.literal = literal


def name_of(path: Path, limit: int = 60) -> str:
    """The path as it may stand in a message: its end, when it is long."""
    text = shown(str(path), 4096)
    return text if len(text) <= limit else "…" + text[1 - limit :]


def read_bytes(path: Path, limits: Limits = LIMITS) -> bytes:
    """The bytes of a regular file of at most `limits.json_bytes`; an InputError names the path and what is wrong."""
    name = name_of(path)
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
    return parse_json(read_bytes(path, limits), name_of(path), limits)


def parse_json(data: bytes, name: str, limits: Limits = LIMITS) -> Any:
    """The value of strict JSON in UTF-8; `name` stands in front of every message."""
    text = _decoded(data, name)
    depth = max(accumulate(map(_STEP.__getitem__, _STRING.sub(b"", data).translate(None, _NOT_BRACKETS))), default=0)
    if depth > limits.json_depth:
        raise InputError(f"{name}: nested {depth:,} deep; at most {limits.json_depth} levels are read")
    try:
        value = json.loads(
            text, parse_float=_float, parse_int=_int, parse_constant=_constant, object_pairs_hook=_object
        )
    except json.JSONDecodeError as error:
        raise InputError(f"{name}:{error.lineno}:{error.colno}: not JSON here; the file is cut or damaged") from None
    except _LiteralError as refused:
        raise InputError(f"{name}{_place(text, refused.literal)}: {refused}") from None
    if _SURROGATE.search(data):
        _refuse_surrogates(value, name)
    return value


def _decoded(data: bytes, name: str) -> str:
    if data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(f"{name}:1:1: begins with a byte order mark; save it as UTF-8 without BOM")
    if not data.strip():
        raise InputError(f"{name}:1:1: empty; it must hold JSON")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise InputError(f"{name}:{line}:{column}: not UTF-8 here; save the file as UTF-8") from None


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
        raise _LiteralError(f"{shown(literal, 30)} is too large for a number", literal)
    return value


def _int(literal: str) -> int:
    if len(literal) > MAX_DIGITS:
        raise _LiteralError(f"a whole number of {len(literal):,} characters; at most {MAX_DIGITS} are read", literal)
    return int(literal)


def _constant(literal: str) -> NoReturn:
    raise _LiteralError(f"{literal} is not JSON; write a finite number", literal)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for place, key in enumerate(keys) if key in keys[:place])
        raise _LiteralError(f"the key '{shown(twice, 40)}' stands twice in one object; keep one")
    return row


def _refuse_surrogates(value: Any, name: str) -> None:
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
            raise InputError(f"{name}: text with half a character (a lone surrogate escape): '{shown(item, 40)}'")
