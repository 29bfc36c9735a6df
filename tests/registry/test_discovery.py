"""Whatever one plugin does, it gets a row with a status and a reason, and the others are there as if it were not."""

from __future__ import annotations

import itertools
import os
import random
import re
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent, indent

import pluggy
import pytest
from chiasm_registry import Catalog, Output, PluginError, PluginInfo, Task, TaskSpec, TaskTable, discover, hookimpl

GROUP = "test.plugins"
COUNT = itertools.count()

SOUND = """
from chiasm_registry import Boxes, Task, TaskSpec, hookimpl

class Sound(Task):
    spec = TaskSpec(name="{task}", token="[{token}]", embeddings=2, output=Boxes, summary="fake"{more})

@hookimpl
def chiasm_tasks():
    return [Sound()]
"""

Install = Callable[..., str]


def sound(task: str = "sound", token: str = "SOUND", more: str = "") -> str:
    return SOUND.format(task=task, token=token, more=more)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Lays a distribution down as an installer does: a module, its metadata, its entry point."""
    monkeypatch.syspath_prepend(str(tmp_path))
    modules = set(sys.modules)

    def lay_down(name: str, code: str, distribution: str = "", value: str = "", version: str = "1.0") -> str:
        distribution = distribution or f"acme-{name}"
        module = f"acme_{name}_{next(COUNT)}"
        (tmp_path / f"{module}.py").write_text(dedent(code))
        info = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        entries = info / "entry_points.txt"
        head = entries.read_text() if entries.exists() else f"[{GROUP}]\n"
        entries.write_text(f"{head}{name} = {value or module}\n")
        return module

    yield lay_down
    for module in set(sys.modules) - modules:
        if module.startswith("acme_"):
            del sys.modules[module]


def rows(catalog: Catalog) -> dict[tuple[str, str], PluginInfo]:
    return {(info.name, info.distribution): info for info in catalog.plugins}


def test_a_sound_plugin_is_ok_and_its_task_is_there(install: Install) -> None:
    install("sound", sound(), version="2.3")
    catalog = discover(group=GROUP)
    assert catalog.plugins == (PluginInfo("sound", "ok", "", "acme-sound", "2.3", ("sound",)),)
    assert catalog.task("sound").spec.token == "[SOUND]"
    with pytest.raises(PluginError, match=r"^no task 'depth'; installed: sound$"):
        catalog.task("depth")


def wrapped(body: str) -> str:
    return f"from chiasm_registry import hookimpl\n@hookimpl\ndef chiasm_tasks():\n{indent(dedent(body), '    ')}"


BROKEN = {
    "raises at import": ("raise ValueError('at 0x7f0123456789')", "failed", r"ValueError at acme_bad_\d+\.py:1"),
    "leaves at import": ("raise SystemExit(0)", "failed", "SystemExit"),
    "exits at import": ("import sys; sys.exit(3)", "failed", "SystemExit"),
    "raises its own at import": ("class E(BaseException): pass\nraise E", "failed", r"E at acme_bad_\d+\.py:2"),
    "is no Python": ("def", "failed", r"SyntaxError at acme_bad_\d+\.py:1"),
    "never comes back up": ("def f(): f()\nf()", "failed", "RecursionError"),
    "misses a name": ("from os import nothing_of_the_kind", "failed", "ImportError"),
    "misses a module": ("import no_such_module_xyz", "missing", "needs the module 'no_such_module_xyz'"),
    "has no hook": ("x = 1", "failed", r"has no chiasm_tasks\(\)"),
    "misspells its hook": (sound().replace("chiasm_tasks", "chiasm_task"), "failed", "'chiasm_task'"),
    "wants an argument": (sound().replace("chiasm_tasks()", "chiasm_tasks(core)"), "failed", "without arguments"),
    "wraps the others": (sound().replace("@hookimpl", "@hookimpl(tryfirst=True)"), "failed", "tryfirst"),
    "wraps all": (
        "from chiasm_registry import hookimpl\n@hookimpl(wrapper=True)\ndef chiasm_tasks():\n    yield\n    return []",
        "failed",
        "wrapper",
    ),
    "raises in its hook": (wrapped("raise ValueError"), "failed", r"ValueError at acme_bad_\d+\.py:4"),
    "leaves in its hook": (wrapped("raise SystemExit(0)"), "failed", "SystemExit"),
    "brings none": (wrapped("return None"), "failed", "NoneType; return a list"),
    "brings a generator": (wrapped("yield 1"), "failed", "generator; return a list"),
    "brings a number": (wrapped("return [1]"), "failed", "int where a Task"),
    "brings a class": (sound().replace("Sound()]", "Sound]"), "failed", "where a Task"),
    "brings one task twice": (sound().replace("[Sound()]", "[Sound(), Sound()]"), "failed", "two of its tasks"),
    "has no spec": (wrapped("from chiasm_registry import Task\nreturn [Task()]"), "failed", "has no `spec`"),
    "has an empty token": (sound(token=""), "failed", "TaskSpec does not fit its schema at token"),
    "has a word as token": (sound().replace('"[SOUND]"', '"cat"'), "failed", "at token"),
    "loosens its schema": (
        sound().replace("output=Boxes", "output=type('Loose', (Boxes,), {'model_config': {'extra': 'allow'}})"),
        "failed",
        "loosens Output's configuration",
    ),
    "hides its spec from checks": (
        sound().replace('TaskSpec(name="sound"', 'TaskSpec.model_construct(name="not a name"'),
        "failed",
        "TaskSpec does not fit its schema at name",
    ),
    "is of the future": (sound(more=', api=">=2"'), "incompatible", "asks for API '>=2', this chiasm has 1.0"),
    "asks for no API": (sound(more=', api=""'), "incompatible", "asks for API ''"),
    "asks for nonsense": (sound(more=', api="newest"'), "incompatible", "write one like"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_plugin_gets_a_row_and_the_others_stay(install: Install, fault: str) -> None:
    code, status, reason = BROKEN[fault]
    install("bad", code)
    install("other", sound("other", "OTHER"))
    catalog = discover(group=GROUP)
    bad, other = catalog.plugins
    assert (bad.name, bad.status, other.status) == ("bad", status, "ok")
    assert re.search(reason, bad.reason), bad.reason
    assert "\n" not in bad.reason
    assert len(bad.reason) <= 200
    assert "0x7f" not in bad.reason
    assert list(catalog.tasks) == ["other"]


def test_an_interrupt_at_import_is_the_users(install: Install) -> None:
    install("bad", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        discover(group=GROUP)


@pytest.mark.parametrize(
    ("value", "status", "reason"),
    [
        ("no_such_module_xyz", "missing", "is not there; reinstall acme-bad"),
        ("os.no_such_part", "missing", "is not there"),
        ("os:nothing", "failed", "has no 'nothing'"),
        ("what is this?", "failed", "names no module"),
    ],
)
def test_an_entry_point_that_leads_nowhere_is_named(install: Install, value: str, status: str, reason: str) -> None:
    install("bad", "", value=value)
    (info,) = discover(group=GROUP).plugins
    assert (info.name, info.status) == ("bad", status)
    assert reason in info.reason


def test_unreadable_metadata_is_named_and_hides_nobody_else(install: Install, tmp_path: Path) -> None:
    install("good", sound())
    for name, content in (("garbage", b"[test.plugins]\nno equals sign\n"), ("binary", b"\xff\xfe[test.plugins]")):
        info = tmp_path / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {name}\nVersion: 1\n")
        (info / "entry_points.txt").write_bytes(content)
    catalog = discover(group=GROUP)
    assert rows(catalog)["good", "acme-good"].status == "ok"
    for name in ("garbage", "binary"):
        assert rows(catalog)[name, name].reason == "its entry_points.txt cannot be read; reinstall it"


@pytest.mark.parametrize("order", [("one", "two"), ("two", "one")])
def test_one_plugin_name_in_two_distributions_is_a_conflict_of_both(install: Install, order: tuple[str, str]) -> None:
    for distribution in order:
        install("depth", sound("depth", "DEPTH"), distribution)
    catalog = discover(group=GROUP)
    assert catalog.tasks == {}
    for info in catalog.plugins:
        assert info.status == "conflict"
        assert "claimed by one and two; uninstall or block one" in info.reason
    with pytest.raises(PluginError, match="plugin 'depth' is conflict"):
        catalog.task("depth")
    assert list(discover(group=GROUP, block=["two"]).tasks) == ["depth"]
    only = discover(group=GROUP, only=["two"])
    assert [(info.distribution, info.status) for info in only.plugins] == [("one", "disabled"), ("two", "ok")]


@pytest.mark.parametrize(("first", "second"), [(("one", "A"), ("one", "B")), (("one", "A"), ("two", "A"))])
@pytest.mark.parametrize("order", ["xyz", "zyx"])
def test_one_task_name_or_token_in_two_plugins_is_a_conflict_of_both(
    install: Install, first: tuple[str, str], second: tuple[str, str], order: str
) -> None:
    tasks = {"x": first, "y": second, "z": ("third", "THIRD")}
    for name in order:
        install(name, sound(*tasks[name]))
    catalog = discover(group=GROUP)
    assert [info.status for info in catalog.plugins] == ["conflict", "conflict", "ok"]
    assert all("acme-x and acme-y" in info.reason for info in catalog.plugins[:2])
    assert list(catalog.tasks) == ["third"]
    assert TaskTable.build(catalog.tasks.values()).tokens == ("[THIRD]",)


@pytest.mark.parametrize(
    ("name", "task", "token"), [("detection", "free", "FREE"), ("mine", "detection", "FREE"), ("mine", "free", "DET")]
)
def test_a_claim_on_one_of_the_platforms_own_leaves_ours_ok(install: Install, name: str, task: str, token: str) -> None:
    install("detection", sound("detection", "DET"), "chiasm")
    install(name, sound(task, token), "acme")
    catalog = discover(group=GROUP)
    assert rows(catalog)["detection", "chiasm"].status == "ok"
    assert rows(catalog)[name, "acme"].status == "conflict"
    assert "acme and chiasm" in rows(catalog)[name, "acme"].reason
    assert list(catalog.tasks) == ["detection"]


def test_plugins_are_switched_off_by_argument_and_by_environment(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("one", sound("one", "ONE"))
    install("two", "raise SystemExit")
    assert [i.status for i in discover(group=GROUP, block=["two"]).plugins] == ["ok", "disabled"]
    assert [i.status for i in discover(group=GROUP, only=["one"]).plugins] == ["ok", "disabled"]
    assert [i.status for i in discover(group=GROUP, only=[]).plugins] == ["disabled", "disabled"]
    assert [(i.name, i.status) for i in discover(group=GROUP, only=["one", "three"]).plugins] == [
        ("one", "ok"),
        ("three", "missing"),
        ("two", "disabled"),
    ]
    monkeypatch.setenv("CHIASM_PLUGINS_BLOCK", " two ,one")
    assert [i.status for i in discover(group=GROUP).plugins] == ["disabled", "disabled"]
    monkeypatch.setenv("CHIASM_PLUGINS_BLOCK", "")
    monkeypatch.setenv("CHIASM_PLUGINS_ONLY", "one")
    assert [i.status for i in discover(group=GROUP).plugins] == ["ok", "disabled"]


CHANGES = {
    "working directory": "import os; os.chdir('/')",
    "random generator of Python": "import random; random.seed(1)",
    "default dtype": "import torch; torch.set_default_dtype(torch.float64)",
    "sys.excepthook": "import sys; sys.excepthook = print",
    "registration of pluggy": "import pluggy; pluggy.PluginManager.register = lambda *a, **k: None",
}


@pytest.mark.parametrize("state", CHANGES)
def test_state_changed_at_import_is_put_back_and_named(install: Install, state: str) -> None:
    install("bad", CHANGES[state] + "\n" + sound())
    install("other", sound("other", "OTHER"))
    random.seed("a state that no plugin here sets")  # another test may have left the very one that `bad` sets
    before = os.getcwd(), random.getstate(), sys.excepthook, pluggy.PluginManager.register
    bad, other = discover(group=GROUP).plugins
    assert before == (os.getcwd(), random.getstate(), sys.excepthook, pluggy.PluginManager.register)
    assert f"the {state}" in bad.reason or bad.status == "failed"
    assert other.status == "ok"


def test_noise_at_import_goes_to_stderr_and_closing_stdout_closes_nothing(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("loud", "import sys\nprint('noise')\nsys.stdout.close()\n" + sound())
    (info,) = discover(group=GROUP).plugins
    print("ours")
    assert info.status == "ok"
    assert capsys.readouterr() == ("ours\n", "noise\n")


def test_a_plugin_that_imports_torch_works(install: Install) -> None:
    install("heavy", "import torch\n" + sound())
    assert list(discover(group=GROUP).tasks) == ["sound"]


class Here(Task):
    spec = TaskSpec(name="here", token="[HERE]", embeddings=1, output=Output, summary="of this process")


def module_of(task: Task) -> types.ModuleType:
    module = types.ModuleType("here")
    module.chiasm_tasks = hookimpl(lambda: [task])  # type: ignore[attr-defined]
    return module


def test_plugins_of_this_process_join_the_catalog(install: Install) -> None:
    install("sound", sound())
    catalog = discover(group=GROUP)
    for plugin in (Here(), module_of(Here())):
        assert sorted(catalog.extended([plugin]).tasks) == ["here", "sound"]
    assert list(catalog.tasks) == ["sound"]


def test_a_plugin_of_this_process_that_fails_or_clashes_is_an_error(install: Install) -> None:
    install("here", sound("here", "OTHER"))
    catalog = discover(group=GROUP)
    with pytest.raises(PluginError, match="the task name 'here' is claimed by acme-here and this process"):
        catalog.extended([Here()])
    with pytest.raises(PluginError, match=r"has no chiasm_tasks\(\)"):
        Catalog((), {}).extended([object()])


def test_a_clash_with_the_platforms_own_is_an_error_too(install: Install) -> None:
    install("here", sound("here", "OTHER"), "chiasm")
    with pytest.raises(PluginError, match="claimed by chiasm and this process"):
        discover(group=GROUP).extended([Here()])


def test_discovering_what_is_installed_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, chiasm_registry; chiasm_registry.discover();"
        "print([name for name in ('torch', 'numpy', 'transformers', 'PIL') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
