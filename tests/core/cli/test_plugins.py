"""`chiasm plugins list` shows every plugin with its status and reason, quickly and without torch."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest
from chiasm.cli.plugins import app
from chiasm.cli.plugins.listing import COLUMNS, as_text
from chiasm_registry import Catalog, PluginInfo
from typer.testing import CliRunner

PLUGINS = (
    PluginInfo(
        "depth", "conflict", "the token '[DEPTH]' is claimed by acme and other; uninstall or block one", "acme", "1.2"
    ),
    PluginInfo("detection", "ok", "", "chiasm", "0.1.0", ("detection",)),
)


@pytest.fixture(autouse=True)
def _catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chiasm_registry.discover", lambda: Catalog(PLUGINS, {}))


def test_json_is_one_array_with_a_row_for_each_plugin() -> None:
    done = CliRunner().invoke(app, ["list", "--json"])
    rows = json.loads(done.stdout)
    assert done.exit_code == 0
    assert [tuple(row) for row in rows] == [COLUMNS, COLUMNS]
    assert rows[1] == {"name": "detection", "status": "ok", "reason": "", "distribution": "chiasm", "version": "0.1.0"}


def test_text_is_a_line_for_each_plugin_under_a_head() -> None:
    head, depth, detection = CliRunner().invoke(app, ["list"]).stdout.splitlines()
    assert head.split() == ["name", "status", "distribution", "version", "reason"]
    assert depth.split()[:4] == ["depth", "conflict", "acme", "1.2"]
    assert depth.endswith("uninstall or block one")
    assert detection.split() == ["detection", "ok", "chiasm", "0.1.0"]


def test_no_plugins_is_a_head_alone() -> None:
    assert as_text([]) == "name  status  distribution  version  reason"


def test_the_command_takes_less_than_half_a_second_and_no_torch() -> None:
    code = (
        "import sys; sys.argv[1:] = ['plugins', 'list', '--json']; from chiasm.cli import main\n"
        "try: main()\nfinally: print([m for m in ('torch', 'numpy') if m in sys.modules], file=sys.stderr)"
    )
    times = []
    for _ in range(3):  # processor time, and the best of three: the machine may be busy with something else
        started = _children_seconds()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        times.append(_children_seconds() - started)
        assert isinstance(json.loads(done.stdout), list)
        assert done.stderr == "[]\n"
    assert min(times) < 0.5


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
