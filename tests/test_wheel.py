"""What is installed is whole: the wheel carries every file of the packages, data and weights included."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from house import PACKAGES, ROOT


@pytest.fixture(scope="module")
def carried(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Names in a freshly built wheel."""
    pytest.importorskip("hatchling")
    out = tmp_path_factory.mktemp("wheel")
    build = f"from hatchling.build import build_wheel; build_wheel({str(out)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.mark.parametrize("package", PACKAGES)
def test_every_file_of_a_package_is_in_the_wheel(package: str, carried: set[str]) -> None:
    folder = ROOT / PACKAGES[package]
    here = {f"{package}/{path.relative_to(folder).as_posix()}" for path in folder.rglob("*") if _ours(path)}
    assert here - carried == set()
    assert {f"{package}/py.typed", f"{package}/__init__.py"} & carried


def _ours(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")


def test_the_wheel_carries_nothing_else(carried: set[str]) -> None:
    assert {name.split("/")[0].split("-")[0] for name in carried} == set(PACKAGES)
