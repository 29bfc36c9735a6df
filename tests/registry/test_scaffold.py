"""A new task's project is whole: its package keeps every rule of the kit and learns, unedited, whatever its kind."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from chiasm_registry import InputError
from chiasm_registry.scaffold import KINDS, new_project
from chiasm_registry.testing import RULES, Bench, Rule, bench_of, practise
from chiasm_registry.testing.rule import tried
from registry.installing import install, site_of, wheel

WHOLE = {
    *("pyproject.toml", "README.md", ".gitignore", ".github/workflows/check.yml"),
    *("tests/test_conformance.py", "tests/test_task.py", "chiasm_my_depth/py.typed", "chiasm_my_depth/__init__.py"),
    *(f"chiasm_my_depth/{part}.py" for part in ("task", "schema", "decoder", "targets", "losses", "metric")),
}


@pytest.fixture(scope="module", params=KINDS)
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The kit's bench of a project of each kind, installed as its own pyproject.toml says."""
    folder = tmp_path_factory.mktemp("project")
    project = new_project(f"my_{request.param}", request.param, folder / "project")
    described = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    package = project / f"chiasm_my_{request.param}"
    files = {f"{package.name}/{file.name}": file.read_text() for file in package.iterdir()}
    points = described["entry-points"]["chiasm.plugins"]
    entries = "[chiasm.plugins]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
    install(wheel(folder, described["name"], files, entries, version=described["version"]), folder / "site")
    with site_of(folder / "site", package.name):
        yield bench_of(f"my_{request.param}")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_project_of_every_kind_keeps_every_rule(bench: Bench, rule: Rule) -> None:
    finding, cause = tried(rule, bench)
    assert finding.verdict != "failed", finding.reason
    assert cause is None


def test_a_decoder_that_has_learned_nothing_is_asked_so_that_it_says_something(bench: Bench) -> None:
    assert any(not answer.is_empty() for answer in bench.answers(bench.kept, bench.phrases, telling=True))


def test_a_project_of_every_kind_learns(bench: Bench) -> None:
    losses = practise(bench, steps=20)
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", ["none", "true", "task", "class", "boxes", "_a", "a" * 41])
def test_a_name_that_its_code_cannot_have_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a task cannot be called"):
        new_project(name, "boxes", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written: Not a directory; name another with --out"):
        new_project("depth", "points", tmp_path / "file" / "new")


def test_a_project_is_whole_and_says_its_own_name(tmp_path: Path) -> None:
    project = new_project("my_depth", "points", tmp_path / "new")
    assert {file.relative_to(project).as_posix() for file in project.rglob("*") if file.is_file()} == WHOLE
    texts = [file.read_text() for file in project.rglob("*") if file.is_file()]
    left = [line for text in texts for line in text.splitlines() if "$" in line and "${{" not in line]
    assert left == []
    assert 'token="[MY_DEPTH]"' in (project / "chiasm_my_depth/task.py").read_text()
    assert "class MyDepthDecoder(nn.Module)" in (project / "chiasm_my_depth/decoder.py").read_text()


@pytest.mark.parametrize(
    ("name", "kind"), [("Depth", "custom"), ("my-depth", "custom"), ("class", "custom"), ("x", "y")]
)
def test_what_cannot_be_a_task_is_refused(name: str, kind: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no kind 'y'|a task cannot be called"):
        new_project(name, kind, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty; name another with --out"):
        new_project("depth", "custom", tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
