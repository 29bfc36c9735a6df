"""A plugin in one file is a plugin like any other, under the file's name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from chiasm_registry import PluginError, discover

SOUND = """
from chiasm_registry import Boxes, Task, TaskSpec, hookimpl

class Sound(Task):
    spec = TaskSpec(name="NAME", token="[ONE]", embeddings=2, output=Boxes, summary="fake")

@hookimpl
def chiasm_tasks():
    return [Sound()]
"""
NOBODY = "test.nobody"  # a group without entry points


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("chiasm_file_"):
            del sys.modules[name]


def written(folder: Path, name: str, text: str = SOUND) -> str:
    (folder / name).write_text(text.replace("NAME", name.partition(".")[0]))
    return str(folder / name)


def test_a_file_is_a_plugin_called_after_it(tmp_path: Path) -> None:
    path = written(tmp_path, "mine.py")
    catalog = discover(files=[path], group=NOBODY)
    (info,) = catalog.plugins
    assert (info.name, info.status, info.distribution, info.path, info.tasks) == ("mine", "ok", path, path, ("mine",))
    assert catalog.task("mine").spec.token == "[ONE]"


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("nothing.py", "missing", "there is no file "),
        ("my-task.py", "failed", "is no name of a Python file; write one like my_task.py"),
        ("notes.txt", "failed", "is no name of a Python file"),
    ],
)
def test_a_path_that_is_no_plugin_is_named(name: str, status: str, reason: str, tmp_path: Path) -> None:
    (info,) = discover(files=[str(tmp_path / name)], group=NOBODY).plugins
    assert info.status == status
    assert reason in info.reason


def test_a_file_that_fails_leaves_no_module_behind_and_its_traceback_is_kept(tmp_path: Path) -> None:
    (info,) = discover(files=[written(tmp_path, "bad.py", "x = 1\nraise ValueError('why')")], group=NOBODY).plugins
    assert (info.status, info.reason) == ("failed", "ValueError at bad.py:2")
    assert info.traceback.endswith("ValueError: why\n")
    assert "chiasm_file_bad" not in sys.modules


def test_two_files_of_one_name_are_a_conflict(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    paths = [written(tmp_path, "mine.py"), written(tmp_path / "other", "mine.py")]
    assert [info.status for info in discover(files=paths, group=NOBODY).plugins] == ["conflict", "conflict"]


def test_strict_makes_a_plugin_that_is_not_ok_an_error_with_its_cause(tmp_path: Path) -> None:
    good, bad = written(tmp_path, "mine.py"), written(tmp_path, "bad.py", "raise ValueError('why')")
    assert list(discover(files=[good], group=NOBODY, strict=True).tasks) == ["mine"]
    assert discover(files=[good], block=["mine"], group=NOBODY, strict=True).tasks == {}
    with pytest.raises(PluginError, match=r"^plugin 'bad' is failed: ValueError at bad.py:1$") as error:
        discover(files=[good, bad], group=NOBODY, strict=True)
    assert isinstance(error.value.__cause__, ValueError)
