"""What README says is so: its code runs, its tree is the folders, its table names files that exist."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PLUGINS = "plugins/chiasm_plugins"
NOT_OURS = {"__pycache__", "build", "dist", "demo-output", "runs", "site", "node_modules"}


def block(heading: str, language: str = "") -> str:
    """The first fenced block of a language under a heading."""
    section = README.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = re.search(rf"^```{language}\n(.*?)^```$", section, flags=re.DOTALL | re.MULTILINE)
    assert found, f"README has no {language} block under {heading}"
    return found.group(1)


def folders_in_readme() -> set[str]:
    found: list[str] = []
    for line in block("The house").splitlines():
        depth, name = (len(line) - len(line.lstrip())) // 4, line.split()[0].rstrip("/")
        parents = [path for path in found if path.count("\0") < depth]
        home = next((path for path in reversed(parents) if path.count("\0") == depth - 1), "")
        found.append(f"{home}\0{name}" if home else name)
    return {path.replace("\0", "/") for path in found}


def folders_in_tree(root: Path) -> set[str]:
    """Folders that hold something, down to where README stops: plugins, tests and single models stay closed."""
    roots = {"registry/chiasm_registry", "core/chiasm", PLUGINS, "tests", "docs", "examples", "benchmarks"}
    closed = {PLUGINS, "tests", "core/chiasm/models", "examples", "benchmarks", "registry/chiasm_registry/scaffold"}
    return roots | {f"{top}/{sub}" for top in roots - closed for sub in _inside(root / top, top, closed)}


def _inside(folder: Path, top: str, closed: set[str]) -> Iterator[str]:
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        inner = any(f"{top}/{'/'.join(parts[:n])}" in closed for n in range(1, len(parts)))
        if path.is_dir() and not inner and not NOT_OURS & set(parts) and any(path.iterdir()):
            yield "/".join(parts)


def test_the_ten_lines_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As written, with the embedded model and a sample photograph."""
    pytest.importorskip("skimage")
    if not (ROOT / "core" / "chiasm" / "models" / "nano" / "weights" / "chiasm.json").is_file():
        pytest.skip("the embedded model is not in this tree")
    code = block("Ten lines", "python")
    assert len(code.splitlines()) <= 12
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), scope)
    assert "cat" in {thing.label for thing in scope["result"].objects}
    assert (tmp_path / "chelsea.jpg").stat().st_size > 10_000
    assert scope["chiasm"].Result.from_json((tmp_path / "chelsea.json").read_bytes()).objects == scope["result"].objects
    assert isinstance(scope["answer"].text, str)


def test_the_plugin_is_discovered_and_answers() -> None:
    """The text of README is a plugin: its task is read by the hook, its decoder's answers pass dispatch."""
    import torch
    from chiasm_registry import CoreInfo, Route, Scene, TaskTable, dispatch
    from chiasm_registry.discovery import discover

    code = block("A whole plugin", "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 25
    plugin = ModuleType("acme_tilt")
    exec(compile(code, "README.md", "exec"), plugin.__dict__)
    task = discover(only=()).extended([plugin]).task("tilt")
    torch.manual_seed(0)
    decoder = task.decoder(CoreInfo(width=8, maps=(), dtype=torch.float32))
    routes = [Route("tilt", name, torch.randn(2, 8), torch.zeros(2, 8)) for name in ("tower", "mast")]
    scene = Scene((4, 6), (), lambda size: torch.zeros(3, size, size))
    table = TaskTable.build([task])
    outputs: list[Any] = dispatch(table, {"tilt": decoder}, scene, routes, max_items=10, time_limit_s=None)
    assert [output.phrase for output in outputs] == ["tower", "mast"]
    assert all(isinstance(output.degrees, float) for output in outputs)


def test_the_plugin_s_entry_point_is_one_of_our_group() -> None:
    from chiasm_registry.hooks import ENTRY_POINT_GROUP

    assert tomllib.loads(block("A whole plugin", "toml"))["project"]["entry-points"][ENTRY_POINT_GROUP]


def test_the_tree_is_the_folders() -> None:
    assert folders_in_readme() == folders_in_tree(ROOT)


def test_the_tree_test_can_go_red(tmp_path: Path) -> None:
    (tmp_path / "core" / "chiasm" / "attic").mkdir(parents=True)
    (tmp_path / "core" / "chiasm" / "attic" / "old.py").write_text("")
    assert "core/chiasm/attic" in folders_in_tree(tmp_path) - folders_in_readme()


def test_the_table_names_files_that_exist() -> None:
    """A built-in task that was taken out takes its rows along."""
    rows = re.findall(r"^\| (.+?) \| `(.+?)` \|$", README, flags=re.MULTILINE)
    assert {"a limit", "an output field", "a prompt template", "a phrasing"} <= {what for what, _ in rows}
    for what, path in rows:
        task = path.removeprefix(PLUGINS + "/").split("/")[0]
        if not path.startswith(PLUGINS) or (ROOT / PLUGINS / task).is_dir():
            assert (ROOT / path).is_file(), what


def test_every_command_of_the_program_is_shown() -> None:
    from chiasm.cli.app import COMMANDS

    shown = set(re.findall(r"^chiasm (\w+)", block("On the command line"), flags=re.MULTILINE))
    assert shown == set(COMMANDS)


@pytest.mark.parametrize("target", ["demo", "check"])
def test_the_two_commands_are_targets_of_the_makefile(target: str) -> None:
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_the_licence_and_the_changelog_are_there() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
