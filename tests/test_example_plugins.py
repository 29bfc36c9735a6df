"""The three plugins in `examples/` are strangers: installed as packages, made of public names, unknown to the house."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from house import ROOT

HOMES = sorted(path.parent for path in (ROOT / "examples").glob("*/pyproject.toml"))
PUBLIC = {"chiasm", "chiasm_registry", "chiasm_registry.testing"}


def run(site: Path, *words: str, home: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """A command in a Python that sees what is installed in `site`."""
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *words], cwd=home, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three distributions, built as wheels and installed."""
    folder = tmp_path_factory.mktemp("site")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "-q", "--target", str(folder)]
    done = run(folder, "-m", "pip", "install", *options, *map(str, HOMES))
    assert done.returncode == 0, done.stderr
    return folder


def test_there_are_three() -> None:
    assert [home.name for home in HOMES] == ["chiasm-count", "chiasm-open-detector", "chiasm-pointing"]


def test_they_are_listed_as_ok(site: Path) -> None:
    rows = json.loads(run(site, "-m", "chiasm.cli", "plugins", "list", "--json").stdout)
    status = {row["name"]: (row["status"], row["distribution"]) for row in rows}
    for name in ("count", "pointing"):
        assert status[name] == ("ok", f"chiasm-{name}")
    assert status["open_detector"] == ("ok", "chiasm-open-detector")


@pytest.mark.parametrize("home", HOMES, ids=lambda home: home.name)
def test_their_own_tests_pass(site: Path, home: Path) -> None:
    """The conformance kit among them, and the weights that they bring for nano."""
    done = run(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", home=home)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("home", HOMES, ids=lambda home: home.name)
def test_they_use_public_names_alone(home: Path) -> None:
    for file in home.rglob("*.py"):
        for module in re.findall(r"^\s*(?:from|import) (chiasm\S*)", file.read_text(encoding="utf-8"), re.MULTILINE):
            own = module.split(".")[0] == home.name.replace("-", "_")
            assert own or module in PUBLIC, f"{file.name} imports {module}"


def test_the_house_does_not_know_them() -> None:
    named = re.compile(r"pointing\b.*\[POINT\]|\[POINT\]|\[COUNT\]|\[ODET\]|chiasm[-_](pointing|count|open)")
    for root in ("core", "registry", "plugins"):
        for file in (ROOT / root).rglob("*.py"):
            assert not named.search(file.read_text(encoding="utf-8")), file


def test_pointing_is_an_afternoon_s_work() -> None:
    """At most 250 lines that an author writes, tests included."""
    home = ROOT / "examples" / "chiasm-pointing"
    assert sum(len(file.read_text(encoding="utf-8").splitlines()) for file in home.rglob("*.py")) <= 250
