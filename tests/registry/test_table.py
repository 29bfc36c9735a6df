"""A table is built whole or not at all, and keeps the checkpoint's order."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from chiasm_registry import Boxes, CheckpointError, ChiasmError, PluginError, Task, TaskSpec, TaskTable


@dataclass(frozen=True)
class Stored:
    name: str
    token: str
    embeddings: int = 2


def task(name: str, token: str = "", after: tuple[str, ...] = ()) -> Task:
    made = Task()
    made.spec = TaskSpec(  # type: ignore[misc]
        name=name, token=token or f"[{name.upper()}]", embeddings=2, output=Boxes, summary="fake", after=after
    )
    return made


A, B, C = task("a"), task("b"), task("c")


@pytest.mark.parametrize("tasks", list(itertools.permutations([A, B, C])))
def test_new_tasks_stand_by_name_behind_the_checkpoints(tasks: tuple[Task, ...]) -> None:
    assert TaskTable.build(tasks).names == ("a", "b", "c")
    table = TaskTable.build(tasks, [Stored("c", "[C]"), Stored("gone", "[GONE]"), Stored("b", "[B]")])
    assert table.names == ("c", "gone", "b", "a")
    assert table.tokens == ("[C]", "[GONE]", "[B]", "[A]")
    assert [entry.stored for entry in table.entries] == [True, True, True, False]
    assert [spec.embeddings for spec in table.specs] == [2, 2, 2, 2]


def test_an_absent_task_keeps_its_place_and_is_not_loaded() -> None:
    table = TaskTable.build([A], [Stored("gone", "[GONE]", 7)])
    assert table.by_name("gone").task is None
    assert table.by_token("[GONE]").spec.embeddings == 7
    assert table.tasks == {"a": A}


def test_tasks_are_found_by_name_and_by_token() -> None:
    table = TaskTable.build([A, B])
    assert table.by_name("b") is table.by_token("[B]")
    with pytest.raises(ChiasmError, match=r"no task 'x' in this model; it has \['a', 'b'\]"):
        table.by_name("x")
    with pytest.raises(ChiasmError, match=r"no routing token '\[X\]'"):
        table.by_token("[X]")


@pytest.mark.parametrize(
    ("tasks", "stored", "why"),
    [
        ([A, A], [], "two tasks are called 'a'"),
        ([A, task("d", "[A]")], [], r"'a' and 'd' both claim the token \[A\]"),
        ([A], [Stored("gone", "[A]")], "both claim the token"),
        ([], [Stored("x", "[X]"), Stored("x", "[Y]")], "two tasks are called 'x'"),
        ([A], [Stored("a", "[OTHER]")], "install the version it was trained with"),
        ([A], [Stored("a", "[A]", 9)], "2 embeddings, the checkpoint has"),
        ([], [Stored("Not A Name", "[A]")], "has no valid declaration"),
        ([], [Stored("x", "[X]", 10**9)], "has no valid declaration"),
        ([task("d", after=("e",)), task("e", after=("d",))], [], "wait for each other"),
        ],
)
def test_what_does_not_go_together_is_refused(tasks: list[Task], stored: list[Stored], why: str) -> None:
    with pytest.raises((PluginError, CheckpointError), match=why):
        TaskTable.build(tasks, stored)


def test_after_may_name_a_task_that_is_not_there() -> None:
    assert TaskTable.build([task("d", after=("nobody",))]).names == ("d",)
