"""What docs/plugins.md says of rules, switches, commands and corpora is so."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from chiasm.cli import plugin_flags
from chiasm.cli.plugins import app
from chiasm_registry import settings
from chiasm_registry.testing import RULES
from core.bad_plugins.matrix import cells
from core.bad_plugins.packages import PACKAGES
from house import ROOT

PAGE = (ROOT / "docs/plugins.md").read_text(encoding="utf-8")


def test_every_rule_stands_on_the_page_with_its_promise() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE))
    assert {rule.name: rule.promise for rule in RULES} == rows


def test_every_switch_is_a_flag_and_a_variable() -> None:
    rows = re.findall(r"^\| `(--[\w-]+)[^`]*` \| `(\w+)", PAGE, re.MULTILINE)
    assert {flag for flag, _ in rows} == {*plugin_flags.VALUED, *plugin_flags.SWITCHES}
    names = (settings.ONLY, settings.BLOCK, settings.FILES, settings.STRICT, settings.TRACE)
    assert [variable for _, variable in rows] == list(names)


def test_every_command_is_on_the_page() -> None:
    assert set(re.findall(r"^chiasm plugins (\w+)", PAGE, re.MULTILINE)) == {c.name for c in app.registered_commands}


def test_the_corpora_are_as_large_as_the_page_says() -> None:
    counts = Counter(cell.survives for cell in cells())
    said = [
        int(n) for n in re.findall(r"(\d+) are isolated.+?(\d+) by a child.+?(\d+) are the.+?(\d+) cannot", PAGE)[0]
    ]
    assert said == [counts[kind] for kind in ("inside", "child", "interrupt", "nowhere")]
    assert re.findall(r"^\| (?:pluggy.*?|chiasm) \| (\d+) \|", PAGE, re.MULTILINE) == [str(len(PACKAGES))] * 2


def test_the_benchmark_sees_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that leaves the process with code 0, and one that zeroes what it is handed."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from loaders import compare

    chosen = [package for package in PACKAGES if package.id in ("04-SystemExit", "28-spoils_its_inputs")]
    table: dict[str, Any] = compare(chosen)
    assert [table["pluggy"][key] for key in ("packages", "host", "neighbour")] == [2, 1, 0]
    assert [table["chiasm"][key] for key in ("packages", "host", "neighbour")] == [2, 2, 2]
