"""JSON as the standard means it: no duplicate keys, no NaN or infinity, no number beyond float, no endless nesting."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from chiasm_registry.errors import CheckpointError, shown

from chiasm.limits import LIMITS


def strict_json(data: bytes | bytearray, name: str) -> dict[str, Any]:
    """The object that `data` holds; `name` is the file, for the message."""
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_constant, parse_float=_finite
        )
    except _NotStrictError as error:
        raise CheckpointError(f"{name} {error}") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{name} is not valid JSON; the file is damaged") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{name} must hold a JSON object")
    _check_depth(value, name, LIMITS.json_depth)
    return value


class _NotStrictError(ValueError):
    """What the message says behind the file's name."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _NotStrictError(f"has the key '{shown(twice, 60)}' twice")
    return result


def _constant(text: str) -> NoReturn:
    raise _NotStrictError(f"holds {text}, which JSON does not allow")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _NotStrictError(f"holds a number that is too large: {shown(text, 40)}")
    return value


def _check_depth(value: Any, name: str, left: int) -> None:
    if left == 0:
        raise CheckpointError(f"{name} is nested deeper than {LIMITS.json_depth} levels")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(inner, name, left - 1)
