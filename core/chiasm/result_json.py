"""Reading a result's JSON: duplicate keys, NaN, other formats and values that do not fit the schema are refused."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from chiasm_registry.errors import InputError, shown
from chiasm_registry.outputs import Output
from pydantic import BaseModel, ValidationError

from .limits import LIMITS
from .result import Result, UnknownOutput

if TYPE_CHECKING:
    from chiasm_registry.discovery import Catalog

Schema = TypeVar("Schema", bound=BaseModel)


def read_result(text: str | bytes, catalog: Catalog | None = None) -> Result:
    """The result that `Result.to_json` wrote; outputs of a task that `catalog` lacks become `UnknownOutput`."""
    fields = _parse(text)
    _check_format(fields.get("format"))
    outputs = _read_outputs(fields.pop("outputs", {}), catalog)
    result = _validated(Result, fields, "this result")
    return result.model_copy(update={"outputs": outputs})


def _parse(text: str | bytes) -> dict[str, Any]:
    if not isinstance(text, str | bytes):
        raise InputError(f"a result's JSON must be str or bytes, not {type(text).__name__}")
    if len(text) > LIMITS.json_bytes:
        raise InputError(f"this JSON is larger than the limit of {LIMITS.json_bytes:,} bytes")
    try:
        fields = json.loads(text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_no_twins)
    except json.JSONDecodeError as error:
        raise InputError(f"a result must be JSON; this breaks at line {error.lineno}, column {error.colno}") from None
    except (ValueError, RecursionError):  # not UTF-8, an endless integer, too deep
        raise InputError("a result must be JSON in UTF-8 of sane depth and numbers; this is not") from None
    if not isinstance(fields, dict):
        raise InputError(f"a result's JSON is one object; this is a {type(fields).__name__}")
    return fields


def _no_constant(name: str) -> NoReturn:
    raise InputError(f"this JSON holds {shown(name)}; a result holds finite numbers only")


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _no_constant(digits)


def _no_twins(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in pairs:
        if key in fields:
            raise InputError(f"this JSON holds the key {shown(key)!r} twice in one object")
        fields[key] = value
    return fields


def _check_format(found: object) -> None:
    ours = Result.model_fields["format"].default
    if found != ours:
        raise InputError(f"this result's format is {shown(found)!r}; this version reads {ours!r} only")


def _read_outputs(rows: object, catalog: Catalog | None) -> dict[str, tuple[Output, ...]]:
    if not isinstance(rows, dict) or not all(isinstance(row, list) for row in rows.values()):
        raise InputError("this result's `outputs` must map each task's name to a list")
    if not rows:
        return {}
    if catalog is None:
        from chiasm_registry.discovery import discover

        catalog = discover()
    schemas = {name: task.spec.output for name, task in catalog.tasks.items()}
    outputs: dict[str, tuple[Output, ...]] = {}
    for name, task_rows in rows.items():
        schema, what = schemas.get(name, UnknownOutput), f"an output of task {shown(name)!r}"
        outputs[name] = tuple(_validated(schema, row, what) for row in task_rows)
    return outputs


def _validated(schema: type[Schema], fields: object, what: str) -> Schema:
    try:
        return schema.model_validate_json(json.dumps(fields))  # JSON mode: strict, and lists are fine for tuples
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = shown(".".join(map(str, first["loc"])) or "itself", 60)
        raise InputError(f"{what} does not fit its schema at {place}: {first['type'].replace('_', ' ')}") from None
