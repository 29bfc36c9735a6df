"""The tutorial's commands, one after the other, in an environment of its own; at the end a trained task answers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from house import ROOT

PAGE = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
SHORTER = {"chiasm train": " --set run.steps=3 --set run.batch_size=2 --set mixture.branches=3"}  # it is to be quick


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment over the libraries that are installed here, and the folder that the commands are typed in."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("desk")
    venv.create(folder / "env", with_pip=True)
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    below = [sysconfig.get_path("purelib"), *(path for path in sys.path if path.endswith("site-packages"))]
    sources = [str(ROOT / part) for part in ("registry", "core", "plugins")]
    (site / "below.pth").write_text("\n".join(dict.fromkeys([*sources, *below])))
    (folder / "env/bin/chiasm").write_text(f"#!{folder}/env/bin/python\nfrom chiasm.cli import main\nmain()\n")
    (folder / "env/bin/chiasm").chmod(0o755)
    shutil.copytree(ROOT / "examples" / "train", folder / "examples" / "train")
    return folder


def test_its_commands_end_with_a_trained_task(desk: Path) -> None:
    """Typed as they stand; only training is cut short, and what it then answers is not looked at."""
    environment = {**os.environ, "PATH": f"{desk}/env/bin:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    said = []
    for command in COMMANDS:
        shortened = command + next((more for part, more in SHORTER.items() if command.startswith(part)), "")
        shortened = shortened.replace("draw_shapes(300)", "draw_shapes(20)").replace("--limit 30", "--limit 4")
        done = subprocess.run(
            ["bash", "-c", shortened], cwd=desk, env=environment, capture_output=True, text=True, timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-1500:]}{done.stderr[-1500:]}"
        said.append(done.stdout)
    assert re.search(r"^centre +ok", said[2], re.MULTILINE)
    assert " passed" in said[3]
    assert "f1" in next(text for command, text in zip(COMMANDS, said, strict=True) if command.startswith("chiasm eval"))
    assert "] []" in said[-1]  # numbers of points, and no notice
    assert (desk / "centre.png").is_file()


def test_the_config_on_the_page_is_the_one_in_the_examples() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert shown in (ROOT / "examples" / "train" / "centre.yaml").read_text("utf-8")
