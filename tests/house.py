"""The rules of the house: who may import whom, how large things are, what nobody writes. `test_house.py` holds them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "chiasm_registry": "registry/chiasm_registry",
    "chiasm": "core/chiasm",
    "chiasm_plugins": "plugins/chiasm_plugins",
}
# what each package may import of ours; a plugin besides may import itself
DIRECTIONS = {
    "chiasm_registry": {"chiasm_registry"},
    "chiasm": {"chiasm_registry", "chiasm"},
    "chiasm_plugins": {"chiasm_registry"},
}
# core is read from left to right, and imports only look to the left
READING_ORDER = (
    *("limits", "strict_json", "files", "checkpoint", "images", "text", "backbone", "routing"),
    *("result", "result_json", "drawing", "plot", "export", "polygons", "exchange"),
    *("weights", "source", "transfer", "assemble", "scene", "options", "requests", "routes"),
    *("answer", "written", "thread", "speech", "session", "model", "models", "placement", "filling", "loading"),
    *("evaluate", "train", "cli"),
)
# verbs of a small thing that a larger one carries out, imported when they are called
DOORS = {("result", "result_json"), ("result", "plot"), ("result", "export")}
OLDEST_PYTHON = (3, 11)
MAX_FILE_LINES, MAX_FUNCTION_LINES = 250, 45
LARGER_WITH_A_REASON: dict[str, str] = {}  # "path" or "path:function" -> why it is not split
READS_ENVIRONMENT = {  # path -> why it looks at the environment of the process
    "core/chiasm/cli/errors.py": "whoever works on chiasm asks for a traceback there",
    "core/chiasm/evaluate/ranks.py": "torchrun and accelerate tell a process its rank there",
    "registry/chiasm_registry/state.py": "what a plugin changes there is put back",
    "registry/chiasm_registry/settings.py": "plugins are switched on and off there, before any code of theirs runs",
}
NEVER_IMPORTED = {"torchvision", "timm", "mmcv", "cv2", "mmdet", "mmengine"}
HEAVY = {"torch", "numpy", "transformers", "tokenizers", "PIL", "pycocotools", "safetensors", "chiasm_plugins"}
LIGHT_AT_THE_TOP = ("registry/chiasm_registry/", "core/chiasm/__init__.py", "core/chiasm/cli/")


@dataclass(frozen=True)
class Module:
    """One source file, parsed; `name` is what one would import."""

    path: str
    name: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        try:
            return ast.parse(self.text, feature_version=OLDEST_PYTHON)
        except SyntaxError:
            return ast.Module([], [])


@dataclass(frozen=True)
class Import:
    """One import of one module; `lazy` inside a function, `typing` under TYPE_CHECKING."""

    target: str
    lazy: bool
    typing: bool


def modules(root: Path) -> Iterator[Module]:
    for package, folder in PACKAGES.items():
        for file in sorted((root / folder).rglob("*.py")):
            parts = [package, *file.relative_to(root / folder).with_suffix("").parts]
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield Module(file.relative_to(root).as_posix(), name, file.read_text(encoding="utf-8"))


def imports(module: Module) -> list[Import]:
    found: list[Import] = []

    def walk(node: ast.AST, lazy: bool, typing: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend(Import(alias.name, lazy, typing) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                found.extend(Import(target, lazy, typing) for target in _targets(module, child))
            only_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            walk(child, lazy or function, typing or only_types)

    walk(module.tree, False, False)
    return found


def _targets(module: Module, node: ast.ImportFrom) -> list[str]:
    package = module.name if module.path.endswith("__init__.py") else module.name.rpartition(".")[0]
    parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    home = ".".join([*parts, *([node.module] if node.module else [])])
    # `from . import tiles` names modules, `from .tiles import cut` names what is in one: the longer name covers both
    return [f"{home}.{alias.name}" for alias in node.names]


def directions(module: Module) -> Iterator[str]:
    package, _, rest = module.name.partition(".")
    for target in {entry.target for entry in imports(module)}:
        other, _, other_rest = target.partition(".")
        itself = package == other and rest.split(".")[0] == other_rest.split(".")[0] and rest != ""
        if other in PACKAGES and other not in DIRECTIONS[package] and not itself:
            yield f"imports {target}"
    if package != "chiasm_plugins" and "chiasm_plugins" in module.text:
        yield "names the package of the built-in plugins"


def reading_order(module: Module) -> Iterator[str]:
    package, _, rest = module.name.partition(".")
    if package != "chiasm" or not rest:
        return
    here = rest.split(".")[0]
    if here not in READING_ORDER:
        yield f"'{here}' has no place in READING_ORDER"
        return
    for entry in imports(module):
        other, _, target = entry.target.partition(".")
        there = target.split(".")[0]
        late = there in READING_ORDER and READING_ORDER.index(there) > READING_ORDER.index(here)
        if other == "chiasm" and late and not entry.typing and not (entry.lazy and (here, there) in DOORS):
            yield f"'{here}' imports '{there}', which is read later"


def sizes(module: Module) -> Iterator[str]:
    lines = len(module.text.splitlines())
    if lines > MAX_FILE_LINES and module.path not in LARGER_WITH_A_REASON:
        yield f"has {lines} lines"
    for node in ast.walk(module.tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > MAX_FUNCTION_LINES and f"{module.path}:{node.name}" not in LARGER_WITH_A_REASON:
                yield f"{node.name} has {lines} lines"


def parses(module: Module) -> Iterator[str]:
    try:
        ast.parse(module.text, feature_version=OLDEST_PYTHON)
    except SyntaxError as error:
        yield f"line {error.lineno} is no Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]}"


def docstring(module: Module) -> Iterator[str]:
    if not ast.get_docstring(module.tree):
        yield "has no docstring"


UNFINISHED = r"\b(?:TODO|FIXME|HACK|XXX)\b"  # marks of work that is put off
BANNER = r"^\s*#\s*[=\-*#]{5,}"  # a line drawn across the file in a comment: it wants to be two files


def words(module: Module) -> Iterator[str]:
    for word in re.findall(f"{UNFINISHED}|{BANNER}", module.text, flags=re.MULTILINE):
        yield f"says {word.strip()}"
    if Path(module.path).stem.strip("_") in {"utils", "util", "common", "helpers", "misc"}:
        yield "is a drawer, not a concept"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and re.search(r"^_?Base[A-Z]|Base$|Manager$|Factory$", node.name):
            yield f"has a class {node.name}"


def habits(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called == "print" and "/cli/" not in module.path:
                yield "prints"
            safe = any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords)
            if called.endswith("torch.load") and not safe:
                yield "calls torch.load without weights_only=True"
        named = ast.unparse(node) if isinstance(node, (ast.Attribute, ast.Name)) else ""
        if named in {"os.environ", "os.getenv", "environ", "getenv"} and module.path not in READS_ENVIRONMENT:
            yield "reads the environment"
        if isinstance(node, ast.Global):
            yield "has a global"
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield "has a bare except"


def libraries(module: Module) -> Iterator[str]:
    for entry in imports(module):
        top = entry.target.partition(".")[0]
        if top in NEVER_IMPORTED:
            yield f"imports {top}"
        if top in HEAVY and not entry.lazy and not entry.typing and module.path.startswith(LIGHT_AT_THE_TOP):
            yield f"imports {top} before it is needed"


Rule = Callable[[Module], Iterator[str]]
RULES: tuple[Rule, ...] = (parses, directions, reading_order, sizes, docstring, words, habits, libraries)


def broken(rule: Rule, root: Path) -> list[str]:
    return [f"{module.path}: {fault}" for module in modules(root) for fault in rule(module)]


def loaded_by(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter holds after running `code`."""
    report = f"import sys\nsys.stderr.write('LOADED ' + ' '.join({HEAVY!r} & set(sys.modules)))"
    code = f"import sys\ntry:\n    {code}\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n{report}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr[-500:]
    return set(run.stderr.rpartition("LOADED ")[2].split())
