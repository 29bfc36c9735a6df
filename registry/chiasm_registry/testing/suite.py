"""The kit as a test class: subclass it, name your task, and pytest runs one test a rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ..task import Task
from .bench import Bench
from .find import bench_of
from .rule import Rule, tried
from .rules import RULES
from .shapes import ABSENT, KINDS


class TaskSuite:
    """One test for each of `RULES`.

        class TestPointing(TaskSuite):
            task = "pointing"

    `task` is the name of an installed task, a Task, or a class of them. `names` is what the red discs, blue squares and
    green triangles of the drawn pictures are called, for a task that knows certain words only; `absent` is a word for
    what no picture shows; `options` is what callers set, `training` the task's part of a training config.
    """

    task: ClassVar[str | Task | type[Task]]
    names: ClassVar[tuple[str, ...]] = KINDS
    absent: ClassVar[str] = ABSENT
    options: ClassVar[Mapping[str, Any]] = {}
    training: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def bench(cls) -> Bench:
        """What the rules are tried on, made once a class."""
        if "_bench" not in vars(cls):
            named = cls.task
            more = {key: getattr(cls, key) for key in ("names", "absent", "options", "training")}
            cls._bench = bench_of(named() if isinstance(named, type) else named, **more)
        return cls._bench

    _bench: ClassVar[Bench]


def _test_of(rule: Rule) -> Callable[[TaskSuite], None]:
    def test(self: TaskSuite) -> None:
        import pytest

        finding, cause = tried(rule, self.bench())
        if finding.verdict == "skipped":
            pytest.skip(finding.reason)
        if finding.verdict == "failed":
            raise AssertionError(f"{rule.promise}: {finding.reason}") from cause

    test.__name__ = f"test_{rule.name}"
    test.__qualname__ = f"TaskSuite.{test.__name__}"
    test.__doc__ = rule.promise
    return test


for _rule in RULES:
    setattr(TaskSuite, f"test_{_rule.name}", _test_of(_rule))
