"""What the pages for readers of the code say is so: files exist, the plugins in them work and learn."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import pytest
import torch
from chiasm_registry import CoreInfo, Route, Sample, SampleObject, Scene, Task, TaskTable
from chiasm_registry.discovery import discover
from chiasm_registry.dispatch import dispatch
from house import ROOT

TASKS, README = ((ROOT / path).read_text(encoding="utf-8") for path in ("docs/tasks.md", "README.md"))
PLUGINS = re.findall(r"```python\n(.*?)```", TASKS, re.DOTALL)
PAGES = sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md"), *ROOT.glob("core/chiasm/models/*/README.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_names_files_that_exist(page: Any) -> None:
    """Whatever looks like a path from the repository's root, and links to other pages; a built-in task may be gone."""
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:core|registry|plugins|tests|docs|examples|benchmarks)/[\w./-]+)`", text)
    for path in named:
        task = re.match(r"plugins/chiasm_plugins/\w+", path)
        if task is None or (ROOT / task.group()).is_dir():
            assert (ROOT / path).exists(), path
    for link in re.findall(r"\]\(([\w./-]+)\)", text):
        assert (page.parent / link).exists(), link


def test_the_road_and_the_table_name_files_of_the_right_package() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    homes = {"core": "core/chiasm", "registry": "registry/chiasm_registry", "plugins": "plugins/chiasm_plugins"}
    steps = re.findall(r"(core|registry)  ([\w/]+\.py)", text)
    assert len(steps) >= 6
    for package, path in steps:
        assert (ROOT / homes[package] / path).is_file(), path
    for row in re.findall(r"^\| \d \| (.+?) \|", text, re.MULTILINE):
        first, *others = re.findall(r"`([\w./]+\.py)`", row)
        for other in others:
            assert (ROOT / first).parent.joinpath(other).is_file(), other


def test_the_first_plugin_is_readme_s() -> None:
    assert PLUGINS[0] in README


def _task(name: str) -> Task:
    plugin = ModuleType("acme")
    exec(compile(PLUGINS[1], "docs/tasks.md", "exec"), plugin.__dict__)
    return discover(only=()).extended([plugin]).task(name)


def _routes(task: Task, slots: torch.Tensor) -> list[Route]:
    options = task.spec.options()
    return [Route(task.spec.name, f"thing {k}", s[None], 0 * s[None], options=options) for k, s in enumerate(slots)]


def test_the_second_plugin_answers() -> None:
    task = _task("presence")
    decoder = task.decoder(CoreInfo(width=8, maps=(), dtype=torch.float32))
    scene = Scene((4, 6), (), lambda size: torch.zeros(3, size, size))
    routes = _routes(task, torch.randn(3, 8))
    outputs: list[Any] = dispatch(
        TaskTable.build([task]), {"presence": decoder}, scene, routes, max_items=10, time_limit_s=None
    )
    assert [output.phrase for output in outputs] == ["thing 0", "thing 1", "thing 2"]
    assert all(output.sure == (output.probability >= 0.5) for output in outputs)


def test_the_second_plugin_learns() -> None:
    torch.manual_seed(0)
    task = _task("presence")
    decoder: Any = task.decoder(CoreInfo(width=8, maps=(), dtype=torch.float32))
    decoder.prepare({"weight": 2.0}, {})
    thing = SampleObject("cat", (0.0, 0.0, 5.0, 5.0))
    targets = task.targets(Sample("1", (10, 10), (thing,), ("cat", "dog"), ((0,), ())))
    slots = torch.randn(2, 8)
    optimizer = torch.optim.SGD(decoder.parameters(), lr=0.3)
    losses = []
    for _ in range(30):
        (loss,) = decoder.loss([None], [_routes(task, slots)], [targets]).values()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
