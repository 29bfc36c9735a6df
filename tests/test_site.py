"""The site of the pages: the reference says all that the contract has, links lead somewhere, the nav is whole."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import chiasm_registry
import pytest
import yaml
from chiasm_registry import Task, TaskSpec
from chiasm_registry.testing import RULES
from house import ROOT

NOT_FOR_AUTHORS = {"API_VERSION", "Catalog", "PluginInfo", "TableEntry", "TaskTable", "discover", "dispatch"}


@pytest.fixture(scope="module")
def site() -> dict[str, Any]:
    """What docs/site.py has."""
    made: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "site.py"))
    return made


@pytest.fixture(scope="module")
def pages(site: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "docs"
    site["build"](folder)
    return folder


def test_the_reference_is_what_the_code_says(site: dict[str, Any]) -> None:
    """`python docs/site.py build/docs` writes it anew."""
    assert (ROOT / "docs" / "reference.md").read_text("utf-8") == site["reference"]()


def test_the_reference_has_every_name_that_authors_use(pages: Path) -> None:
    text = (pages / "reference.md").read_text("utf-8")
    for name in set(chiasm_registry.__all__) - NOT_FOR_AUTHORS:
        assert re.search(rf"\b{name}\b", text), name
    for name in (*TaskSpec.model_fields, *(n for n, f in vars(Task).items() if callable(f) and n[0] != "_")):
        assert re.search(rf"`{name}\b", text), name
    assert all(rule.promise in text for rule in RULES)


def test_the_reference_leaves_nothing_unsaid(pages: Path) -> None:
    """Every row has a type, every method its promise."""
    text = (pages / "reference.md").read_text("utf-8")
    assert "| `` |" not in text
    assert "object at 0x" not in text
    assert "**self" not in text


def test_links_lead_to_pages_of_the_site(pages: Path) -> None:
    for page in pages.rglob("*.md"):
        for target in re.findall(r"\]\(([\w./-]+\.(?:md|svg|png))", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_nav_names_pages_that_are_there(pages: Path) -> None:
    def leaves(value: Any) -> list[str]:
        if isinstance(value, str):
            return [value]
        return [leaf for part in (value.values() if isinstance(value, dict) else value) for leaf in leaves(part)]

    named = leaves(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"])
    assert not [name for name in named if not (pages / name).is_file()]
    told = {page.name for page in pages.glob("*.md")}
    assert told <= set(named), told - set(named)


def test_the_site_is_built(pages: Path, tmp_path: Path) -> None:
    """With mkdocs, where it is installed; a dead link or anchor would fail it."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    described = (ROOT / "mkdocs.yml").read_text("utf-8")
    described = described.replace("build/docs", str(pages)).replace("build/site", str(tmp_path / "site"))
    (tmp_path / "mkdocs.yml").write_text(described)
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-q", "--strict"], cwd=tmp_path, capture_output=True, text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "reference" / "index.html").is_file()
