"""A stranger's afternoon, in an environment of its own: chiasm as a wheel, a new task, and gone again."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from house import ROOT


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that holds the wheel of chiasm, over the libraries that are installed here."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("stranger")
    build = f"from hatchling.build import build_wheel; build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=ROOT, check=True, capture_output=True, timeout=120)
    venv.create(folder / "env", with_pip=True)
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    # Behind the environment's own packages: the wheel is found before an editable chiasm that may be here.
    below = [sysconfig.get_path("purelib"), *(path for path in sys.path if path.endswith("site-packages"))]
    (site / "below.pth").write_text("\n".join(dict.fromkeys(below)))
    (wheel,) = folder.glob("*.whl")
    _run(folder, "pip", "install", "--no-deps", "--no-index", str(wheel))
    return folder


def _run(folder: Path, program: str, *arguments: str, code: int = 0) -> str:
    command = [str(folder / "env/bin" / program), *arguments]
    if program == "pip":
        command = [str(folder / "env/bin/python"), "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def _listed(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(_run(folder, "chiasm", "plugins", "list", "--json"))
    return rows


ANSWER = """
import chiasm, PIL.Image
print("chiasm at", chiasm.__file__)
model = chiasm.load("nano", tasks=["depth"])
result = model.run("depth", PIL.Image.new("RGB", (64, 48)), ["person", "dog"])
print([round(output.value, 3) for output in result.outputs["depth"]], [notice.text for notice in result.notices])
"""


def test_a_new_task_is_written_installed_tested_listed_asked_and_gone_again(stranger: Path) -> None:
    before = _listed(stranger)
    _run(stranger, "chiasm", "plugins", "new", "depth", "--kind", "custom")
    _run(stranger, "pip", "install", "--no-deps", "--no-build-isolation", "-e", "chiasm-depth")
    row = {"name": "depth", "status": "ok", "reason": "", "distribution": "chiasm-depth", "version": "0.1.0"}
    assert [found for found in _listed(stranger) if found["name"] == "depth"] == [row]
    assert " passed" in _tests(stranger, ["chiasm-depth"])
    said = _run(stranger, "python", "-c", ANSWER)
    assert f"chiasm at {stranger / 'env'}" in said
    assert "task 'depth' is untrained: this checkpoint has no weights for it" in said
    _run(stranger, "pip", "uninstall", "-y", "chiasm-depth")
    assert _listed(stranger) == before


def _tests(folder: Path, arguments: Sequence[str]) -> str:
    return _run(folder, "python", "-m", "pytest", "-q", *arguments)
