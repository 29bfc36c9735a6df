"""`chiasm plugins show`: one plugin in full: who made it, what its files are, what its tasks declare."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer


def show_plugin(
    name: Annotated[str, typer.Argument(help="A plugin or a task by its name, or a distribution.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show a plugin: author, version, licence, files with their sums, and each task's token, embeddings and schema."""
    from chiasm_registry import InputError
    from chiasm_registry.describe import about
    from chiasm_registry.errors import shown
    from chiasm_registry.survey import survey

    found = survey(declarations=True)
    infos = [info for info in found.plugins if name in (info.name, info.distribution, *info.tasks)]
    if not infos:
        raise InputError(f"no plugin {shown(repr(name), 60)} is installed; `chiasm plugins list` shows what is")
    rows = []
    for info in infos:
        made = about(info)
        rows.append(
            {
                "name": info.name,
                "status": info.status,
                "reason": info.reason,
                "distribution": info.distribution,
                "version": info.version,
                "author": made.author,
                "licence": made.licence,
                "homepage": made.homepage,
                "requires": list(made.requires),
                "tasks": [found.tasks[task] for task in info.tasks if task in found.tasks],
                "files": dict(made.files),
                "traceback": info.traceback,
            }
        )
    if as_json:
        typer.echo(json.dumps(rows[0] if len(rows) == 1 else rows, indent=2))
    else:
        typer.echo("\n\n".join("\n".join(_lines(row)) for row in rows))


def _lines(row: Mapping[str, Any]) -> Iterator[str]:
    for key in ("name", "status", "reason", "distribution", "version", "author", "licence", "homepage"):
        if row[key]:
            yield f"{key:14}{row[key]}"
    yield from (f"{'requires':14}{text}" for text in row["requires"] if "extra ==" not in text)
    for task in row["tasks"]:
        yield f"task {task['name']}: {task['summary']}"
        image = "" if task["needs_image"] else ", needs no image"
        yield f"    token {task['token']}, {task['embeddings']} embeddings, API {task['api']}{image}"
        yield f"    answers {task['output']['title']}: {_fields(task['output'])}"
        yield f"    options {_fields(task['options'])}"
    yield from (f"    {sum256}  {path}" for path, sum256 in row["files"].items())
    if row["traceback"]:
        yield row["traceback"].rstrip()


def _fields(schema: Mapping[str, Any]) -> str:
    named = {name: field for name, field in schema.get("properties", {}).items() if name != "phrase"}
    return ", ".join(f"{name} ({_kind(field)})" if _kind(field) else name for name, field in named.items()) or "none"


def _kind(field: Mapping[str, Any]) -> str:
    """Its type in a schema's words; of several all, and of a class of its own the name."""
    kinds = [field, *field.get("anyOf", ())]
    words = (str(kind.get("type") or kind.get("$ref", "")).rpartition("/")[2] for kind in kinds)
    return " or ".join(filter(None, words))
