"""The pages as a site: README and docs/ copied into one folder; docs/reference.md is written anew from the code.

    python docs/site.py build/docs        then mkdocs, with mkdocs.yml; `make docs` does both
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import chiasm_registry as registry
from chiasm_registry import API_VERSION, Output, Task, TaskSpec
from chiasm_registry.hooks import HookSpecs
from pydantic import BaseModel

ROOT = Path(__file__).resolve().parent.parent
PAGES = {  # where a page stands in the repository -> what it is called on the site
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "core/chiasm/models/nano/README.md": "nano.md",
    "benchmarks/README.md": "benchmarks.md",
}
CONTRACT = (
    *("CoreInfo", "MapInfo", "Scene", "Route", "Decoder", "TrainableDecoder"),
    *("Sample", "SampleObject", "Metric", "Canvas"),
)
VALUES = ("Box", "Mask", "Point", "Found", "Notice")
ERRORS = ("ChiasmError", "InputError", "CheckpointError", "PluginError", "TrainingError")


def build(folder: Path) -> None:
    """Make `folder` the source of the site."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for source, name in PAGES.items():
        (folder / name).write_text((ROOT / source).read_text("utf-8"), "utf-8")
    for readme in ROOT.glob("examples/*/README.md"):
        (folder / "examples").mkdir(exist_ok=True)
        (folder / "examples" / f"{readme.parent.name}.md").write_text(readme.read_text("utf-8"), "utf-8")
    for page in folder.rglob("*.md"):
        page.write_text(_relinked(page.read_text("utf-8"), page.relative_to(folder)), "utf-8")


def _relinked(text: str, page: Path) -> str:
    """Links between pages as they stand on the site; to what has no page there, plain text."""

    def link(found: re.Match[str]) -> str:
        words, target = found[1], found[2]
        if re.match(r"https?:|#|mailto:", target) or target.endswith((".svg", ".png")):
            return found[0]
        path, _, anchor = target.partition("#")
        name = PAGES.get(path.removeprefix("../"), re.sub(r"^(\.\./)*docs/", "", path))
        known = name.endswith(".md") and (name in PAGES.values() or (ROOT / "docs" / page.parent / name).exists())
        if not known:
            return words
        return f"[{words}]({name}{'#' + anchor if anchor else ''})"

    return re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", link, text)


def reference() -> str:
    """Hook, task, schema, contract and the kit's rules, as the code has them."""
    parts = (_head, _hook, _spec, _task, _contract, _schemas, _values, _rules, _errors)
    return "\n".join(line for part in parts for line in part())


def _head() -> Iterator[str]:
    yield "# Reference for authors\n"
    yield f"Written from the code; the contract is of version {API_VERSION}. All names come from `chiasm_registry`.\n"


def _hook() -> Iterator[str]:
    yield "## The hook\n"
    for name, function in inspect.getmembers(HookSpecs, inspect.isfunction):
        yield f"`{name}{_signature(function)}`: {_said(function)}\n"
    yield "Mark it with `@hookimpl`; the module that has it stands in the entry-point group `chiasm.plugins`.\n"


def _spec() -> Iterator[str]:
    yield "## TaskSpec\n"
    yield f"{_said(TaskSpec)}\n"
    yield from _fields(TaskSpec)


def _task() -> Iterator[str]:
    yield "## Task\n"
    yield f"{_said(Task)}\n"
    yield from _methods(Task)


def _contract() -> Iterator[str]:
    yield "## What a decoder gets, and what it gives\n"
    yield f"```text\n{inspect.getdoc(sys.modules['chiasm_registry.contract'])}\n```\n"
    for name in CONTRACT:
        kind = getattr(registry, name)
        yield f"### {name}\n"
        yield f"{_said(kind)}\n"
        yield from _attributes(kind)
        yield from _methods(kind)


def _schemas() -> Iterator[str]:
    yield "## Outputs\n"
    kinds = [kind for kind in vars(registry).values() if isinstance(kind, type) and issubclass(kind, Output)]
    for kind in sorted(kinds, key=lambda one: (one is not Output, one.__name__)):
        yield f"### {kind.__name__}\n"
        yield f"{_said(kind)}\n"
        yield from _fields(kind)
        schema = json.dumps(kind.model_json_schema(mode="serialization"), indent=1)
        yield f'??? note "JSON schema"\n{_indented(f"```json{chr(10)}{schema}{chr(10)}```")}\n'


def _values() -> Iterator[str]:
    yield "## Values\n"
    for name in (*VALUES, *(name for name in registry.__all__ if name.startswith("Scored"))):
        kind = getattr(registry, name)
        yield f"### {name}\n"
        yield f"{_said(kind)}\n"
        yield from _fields(kind) if issubclass(kind, BaseModel) else _attributes(kind)


def _rules() -> Iterator[str]:
    from chiasm_registry.testing import RULES

    yield "## The rules of the kit\n"
    yield "| rule | what it promises |\n|---|---|"
    yield "\n".join(f"| `{rule.name}` | {rule.promise} |" for rule in RULES) + "\n"


def _errors() -> Iterator[str]:
    yield "## Errors\n"
    yield "\n".join(f"- `{name}`: {_said(getattr(registry, name))}" for name in ERRORS) + "\n"


def _fields(kind: type[BaseModel]) -> Iterator[str]:
    yield "| field | type | default |\n|---|---|---|"
    for name, field in kind.model_fields.items():
        value = None if field.is_required() else field.get_default(call_default_factory=True)
        shown = value.__name__ if isinstance(value, type) else repr(value)
        default = "required" if field.is_required() else f"`{shown}`"
        yield f"| `{name}` | `{_kind(kind, name)}` | {default} |"
    yield ""


def _kind(kind: type, name: str) -> str:
    """A field's annotation as it is written, cut to its type where constraints stand beside it."""
    homes = (vars(one).get("__annotations__", {}) for one in kind.__mro__)
    written = next((str(home[name]) for home in homes if name in home), "")
    return ast.unparse(_Bare().visit(ast.parse(written, mode="eval"))).replace("|", "\\|") if written else ""


class _Bare(ast.NodeTransformer):
    """Takes the constraints from a type."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        annotated = isinstance(node.value, ast.Name) and node.value.id == "Annotated"
        bare = node.slice.elts[0] if annotated and isinstance(node.slice, ast.Tuple) else node
        return self.generic_visit(bare) if bare is node else self.visit(bare)


def _attributes(kind: type) -> Iterator[str]:
    """A dataclass's fields with the comments that stand beside them."""
    source = inspect.getsource(kind)
    rows = re.findall(r"^    (\w+): ([^=#\n]+?)(?: = [^#\n]*?)?(?:  # (.*))?$", source, re.MULTILINE)
    if rows:
        yield "| field | type | |\n|---|---|---|"
        cells = ((name, written.replace("|", "\\|"), said.replace("|", "\\|")) for name, written, said in rows)
        yield from (f"| `{name}` | `{written}` | {said} |" for name, written, said in cells)
        yield ""


def _methods(kind: type) -> Iterator[str]:
    for name, function in vars(kind).items():
        if inspect.isfunction(function) and not name.startswith("_"):
            yield f"- `{name}{_signature(function)}`: {_said(function) or 'see above'}"
    yield ""


def _signature(function: Any) -> str:
    return str(inspect.signature(function)).replace("'", "").replace("(self, ", "(").replace("(self)", "()")


def _said(thing: Any) -> str:
    """The docstring in one flow, if the thing has one of its own."""
    text = inspect.cleandoc(vars(thing).get("__doc__") or "" if isinstance(thing, type) else thing.__doc__ or "")
    return re.sub(r"\s*\n(?!\n)\s*", " ", text).strip()


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def main(arguments: Iterable[str]) -> None:
    (folder,) = arguments
    (ROOT / "docs" / "reference.md").write_text(reference(), "utf-8")
    build(Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
