"""A result's JSON. In reading, duplicate keys, NaN, other formats and values that do not fit the schema are refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from chiasm_registry.errors import InputError, shown
from chiasm_registry.guard import clean, guarded
from chiasm_registry.outputs import NOTICE_CHARS, Notice, Output, UnknownOutput
from pydantic import BaseModel, ValidationError

from .limits import LIMITS
from .result import Result
from .strict_json import parse_object

if TYPE_CHECKING:
    from chiasm_registry.discovery import Catalog

Schema = TypeVar("Schema", bound=BaseModel)


def write_result(result: Result, indent: int | None = None) -> str:
    """The result as JSON, without those outputs whose own class fails at being written."""
    text, _ = _written(result, indent)
    if text is not None:
        return text
    kept: dict[str, tuple[Output, ...]] = {}
    notices = list(result.notices)
    for task, outputs in result.outputs.items():
        faults = [_written(output)[1] for output in outputs]
        kept[task] = tuple(output for output, fault in zip(outputs, faults, strict=True) if not fault)
        said = [f"task {task!r} gave an answer that cannot be written: {fault}" for fault in faults if fault]
        notices += [Notice(text=clean(text, NOTICE_CHARS), task=task) for text in said]
    return result.model_copy(update={"outputs": kept, "notices": tuple(notices)}).model_dump_json(indent=indent)


def _written(value: BaseModel, indent: int | None = None) -> tuple[str | None, str]:
    """The JSON of a value, or the fault of a plugin's own serializer."""
    outcome = guarded(lambda: value.model_dump_json(indent=indent), "the writing of a result", type(value).__module__)
    return outcome.value, outcome.fault or ""


def read_result(text: str | bytes, catalog: Catalog | None = None) -> Result:
    """The result that `Result.to_json` wrote; outputs of a task that `catalog` lacks become `UnknownOutput`."""
    if catalog is not None and not isinstance(getattr(catalog, "tasks", None), Mapping):
        raise InputError(f"catalog is what discover() gives, or None, not {shown(type(catalog).__name__, 40)}")
    fields = _parse(text)
    _check_format(fields.get("format"))
    outputs = _read_outputs(fields.pop("outputs", {}), catalog)
    result = _validated(Result, fields, "this result")
    _check_masks(result)
    return result.model_copy(update={"outputs": outputs})


def _check_masks(result: Result) -> None:
    """All masks of an image have its size: they are stacked, and drawn over it."""
    size_hw = result.size_hw
    for number, thing in enumerate(result.objects):
        if thing.mask is None:
            continue
        size_hw = size_hw or thing.mask.size_hw
        if thing.mask.size_hw != size_hw:
            ours, theirs = (f"{width}x{height}" for height, width in (size_hw, thing.mask.size_hw))
            raise InputError(f"objects.{number} of this result has a mask of {theirs} pixels, the image has {ours}")


def _parse(text: str | bytes) -> dict[str, Any]:
    if not isinstance(text, str | bytes):
        raise InputError(f"a result's JSON must be str or bytes, not {type(text).__name__}")
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    if len(data) > LIMITS.json_bytes:
        raise InputError(f"this result's JSON is larger than the limit of {LIMITS.json_bytes:,} bytes")
    return parse_object(data, "this result's JSON")


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
        # the words of our own checks; those of others may repeat what the file holds
        fact = first["msg"].removeprefix("Value error, ") if first["type"] == "value_error" else first["type"]
        raise InputError(f"{what} does not fit its schema at {place}: {shown(fact.replace('_', ' '), 120)}") from None
