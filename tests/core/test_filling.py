"""Which file fills which task: the caller's, the folder's, the plugin's own; by version, by core, in any order."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from chiasm.checkpoint import Manifest, add_tasks, read_checkpoint, write_task_file
from chiasm.loading import load
from chiasm.routes import routable
from chiasm_registry import ChiasmError, Task, TaskSpec
from core.test_loading import TASKS, file_of, write
from core.tiny import EchoTask, Level, LevelTask, picture


class Shipped(LevelTask):
    """Comes with weights of its own; reads those of some versions."""

    def __init__(self, *files: Path, reads: str = "") -> None:
        self.files = files
        self.spec = LevelTask.spec.model_copy(update={"weights_of": reads})  # type: ignore[misc]

    def weights(self) -> Sequence[Path]:
        return self.files


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows the task echo alone."""
    return write(tmp_path_factory.mktemp("plain") / "model", tasks=[file_of(EchoTask(), 0)])


def task_file(path: Path, core: str = "", seed: int = 3, **changes: Any) -> Path:
    write_task_file(path, file_of(LevelTask(), 0, seed, core=core, **changes))
    return path


def core_of(folder: Path) -> str:
    return read_checkpoint(folder).manifest.core_id


def level_of(folder: Path, task: Task, *, others: Sequence[Task] = (), **more: Any) -> Any:
    model = load(folder, plugins=[task, EchoTask(), *others], tasks=["level", "echo"], **more)
    return model, model.run("level", picture(), ["dog"]).outputs["level"][0]


def test_a_plugins_own_file_is_used_where_nothing_else_is_there(plain: Path, tmp_path: Path) -> None:
    """The one for this core, of several; without a notice, and equal to the same file given by the caller."""
    other, mine = task_file(tmp_path / "a", "0" * 16, seed=4), task_file(tmp_path / "b", core_of(plain))
    model, answer = level_of(plain, Shipped(other, mine))
    assert not model.untrained
    assert not model.notices
    assert answer == level_of(plain, LevelTask(), tasks_from=[mine])[1]
    assert answer != level_of(plain, LevelTask())[1]


def test_the_folders_file_counts_before_the_plugins_own(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole", tasks=[file_of(LevelTask(), 0), file_of(EchoTask(), 1)])
    mine = task_file(tmp_path / "mine", core_of(whole))
    assert level_of(whole, Shipped(mine))[1] == level_of(whole, LevelTask())[1]
    assert level_of(whole, Shipped(), tasks_from=[mine])[1] != level_of(whole, LevelTask())[1]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: [task_file(path, "0" * 16)], "has weights for other models alone; `chiasm train --task level`"),
        (lambda path: [path.with_name("gone")], "a file of its package cannot be used"),
        (lambda path: 5, r"its weights\(\) failed"),
        (lambda path: [], "the checkpoint has no weights for it"),
    ],
)
def test_what_a_plugin_ships_and_cannot_be_used_leaves_it_untrained(
    plain: Path, tmp_path: Path, make: Any, reason: str
) -> None:
    task = Shipped()
    task.files = make(tmp_path / "file")
    model, _ = level_of(plain, task)
    assert set(model.untrained) == {"level"}
    (notice,) = model.notices
    assert notice.task == "level"
    assert reason.replace("\\", "") in notice.text


def test_a_file_of_another_core_is_taken_when_the_caller_says_so_with_a_notice(plain: Path, tmp_path: Path) -> None:
    model, _ = level_of(plain, LevelTask(), tasks_from=[task_file(tmp_path / "file", "0" * 16)])
    assert not model.untrained
    assert "trained on another core" in model.notices[0].text


def test_of_a_core_that_nobody_listed_no_file_is_called_anothers() -> None:
    """A folder of others has no list of files: nothing tells one such core from the next, and nothing is claimed."""
    assert Manifest(design="internvl", template="nano", guided_instruction="Find.", files={}).core_id == ""


@pytest.mark.parametrize(("reads", "taken"), [("", True), (">=1,<2", True), (">=2", False)])
def test_a_range_says_which_versions_weights_are_read(
    plain: Path, tmp_path: Path, reads: str, taken: bool
) -> None:
    """By a folder's: accepted, or untrained with the reason; a file of the caller is refused."""
    file = task_file(tmp_path / "file", core_of(plain), version="1.4")
    add_tasks(plain, [file], tmp_path / "joined")
    model, _ = level_of(tmp_path / "joined", Shipped(reads=reads))
    assert (not model.untrained) == taken
    if not taken:
        assert "of version 1.4, the installed one reads '>=2'" in model.notices[0].text
        with pytest.raises(ChiasmError, match=r"of version 1\.4"):
            level_of(plain, Shipped(reads=reads), tasks_from=[file])


def test_a_range_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="weights_of must say versions"):
        TaskSpec(name="a", token="[A]", embeddings=1, output=Level, summary="a", weights_of="new")


def test_a_joined_model_goes_anywhere(plain: Path, tmp_path: Path) -> None:
    """Elsewhere without the plugin it says so once; in another order of plugins its table and answers are the same."""
    file = task_file(tmp_path / "file", core_of(plain))
    assert add_tasks(plain, [file], tmp_path / "joined") == ("echo", "level")
    without = load(tmp_path / "joined", plugins=[EchoTask()], tasks=["echo"])
    assert [notice.text for notice in without.notices] == ["task 'level' of this checkpoint is not loaded"]
    assert without.table.names == ("echo", "level")
    one, other = (load(tmp_path / "joined", plugins=some, tasks=["level", "echo"]) for some in (TASKS, TASKS[::-1]))
    assert one.table.names == other.table.names == ("echo", "level")
    said = [model.run(("echo", "level"), picture(), ["dog", "cat"]).outputs for model in (one, other)]
    assert said[0] == said[1]
    alone = load(plain, plugins=TASKS, tasks=["echo"])  # the same call, before anything was joined
    assert one.run("echo", picture(), ["dog"]).outputs == alone.run("echo", picture(), ["dog"]).outputs


def test_joining_changes_no_byte_of_the_core(plain: Path, tmp_path: Path) -> None:
    """So that what was trained on the core still fits the joined model's; a second file takes the first one's place."""
    add_tasks(plain, [task_file(tmp_path / "file", core_of(plain))], tmp_path / "joined")
    assert core_of(tmp_path / "joined") == core_of(plain)
    again = task_file(tmp_path / "again", core_of(plain), seed=9)
    assert add_tasks(tmp_path / "joined", [again], tmp_path / "twice") == ("echo", "level")
    stored = read_checkpoint(tmp_path / "twice").tasks["level"]
    assert torch.equal(stored.vectors, file_of(LevelTask(), 0, 9).vectors)


def test_what_does_not_belong_together_is_not_joined(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(ChiasmError, match="trained on another core"):
        add_tasks(plain, [task_file(tmp_path / "file", "0" * 16)], tmp_path / "joined")
    with pytest.raises(ChiasmError, match="is the model itself"):
        add_tasks(plain, [task_file(tmp_path / "file")], plain)
    with pytest.raises(ChiasmError, match="same token"):
        add_tasks(plain, [task_file(tmp_path / "file", token="[ECHO]")], tmp_path / "joined")


def test_files_beside_the_tasks_module_are_its_own(plain: Path, tmp_path: Path) -> None:
    """Those whose names begin with the task's; nothing of the author is needed for it."""
    (tmp_path / "acme_level.py").write_text("from core.tiny import LevelTask\n\nclass Own(LevelTask):\n    pass\n")
    task_file(tmp_path / "level-nano.safetensors", core_of(plain))
    task_file(tmp_path / "level-other.safetensors", "0" * 16)
    (tmp_path / "notes.safetensors").write_text("not a task's")
    spec = importlib.util.spec_from_file_location("acme_level", tmp_path / "acme_level.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "acme_level", module)
        spec.loader.exec_module(module)
        assert [path.name for path in module.Own().weights()] == ["level-nano.safetensors", "level-other.safetensors"]
        model, _ = level_of(plain, module.Own())
    assert not model.untrained


class Wrapper(LevelTask):
    """Reads no slots."""

    spec = LevelTask.spec.model_copy(update={"learns": False})


def test_a_task_that_does_not_learn_is_complete_and_never_said(plain: Path) -> None:
    model, _ = level_of(plain, Wrapper())
    assert not model.untrained
    assert not model.notices
    assert not model.run("level", picture(), ["dog"]).notices
    assert routable(model.table, ["level", "echo"], model.untrained, seeing=True) == ["echo"]
