"""What a distribution asks for and brings is held against what is installed, and nothing is imported."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from chiasm_registry.requirements import grievance
from registry.installing import install, wheel


def distribution(folder: Path, metadata: str = "", files: Mapping[str, str] | None = None) -> Distribution:
    install(wheel(folder, "acme-one", files or {"acme_one.py": ""}, metadata=metadata), folder / "site")
    (found,) = distributions(path=[str(folder / "site")])
    return found


@pytest.mark.parametrize(
    "requirement",
    ["pluggy", "pluggy>=1", "acme-nothing; extra == 'more'", "acme-nothing; python_version < '3'", "PyYAML"],
)
def test_what_is_met_or_not_meant_is_no_grievance(requirement: str, tmp_path: Path) -> None:
    assert grievance(distribution(tmp_path, f"Requires-Dist: {requirement}\n")) is None


@pytest.mark.parametrize(
    ("requirement", "status", "why"),
    [
        (
            "acme-nothing>=2",
            "missing",
            "it needs acme-nothing>=2, which is not installed; pip install 'acme-nothing>=2'",
        ),
        ("pluggy<1", "incompatible", "it needs pluggy<1, and "),
        ("not a requirement at all", "failed", "its requirement 'not a requirement at all' cannot be read"),
    ],
)
def test_what_is_not_met_is_named_with_the_cure(requirement: str, status: str, why: str, tmp_path: Path) -> None:
    found = grievance(distribution(tmp_path, f"Requires-Dist: {requirement}\n"))
    assert found is not None
    assert found[0] == status
    assert found[1].startswith(why)


@pytest.mark.parametrize("path", ["json.py", "torch/__init__.py", "chiasm/model.py", "chiasm_registry/spec.py"])
def test_a_module_that_is_not_its_own_is_refused(path: str, tmp_path: Path) -> None:
    name = path.split("/")[0].removesuffix(".py")
    found = grievance(distribution(tmp_path, files={path: "", "acme_one.py": ""}))
    assert found == ("failed", f"it brings a module {name!r}, which stands in the way of the real one; uninstall it")


def test_a_pth_file_is_refused_unless_it_is_that_of_an_editable_install(tmp_path: Path) -> None:
    found = distribution(tmp_path, files={"acme.pth": "import os"})
    assert grievance(found) == (
        "failed",
        "it brings a .pth file, which may run code whenever Python starts; uninstall it",
    )
    (info,) = (tmp_path / "site").glob("*.dist-info")
    (info / "direct_url.json").write_text('{"url": "file:///acme", "dir_info": {"editable": true}}')
    assert grievance(found) is None
