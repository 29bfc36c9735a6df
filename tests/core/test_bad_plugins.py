"""Thirty-two kinds of bad packages as real wheels: each has its row, its neighbour answers as if it were alone."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from chiasm_registry import discover
from chiasm_registry.child import told_by
from chiasm_registry.settings import Settings, applied
from chiasm_registry.survey import survey
from core.bad_plugins.matrix import sound_code
from core.bad_plugins.packages import PACKAGES, Package
from core.bad_plugins.road import Went, checkpoint, lay_down, walk, wheel
from registry.installing import site_of

SHORT_S, LONG_S = 4.0, 120.0  # for what hangs, and for what does not


def of(*survives: str) -> list[Any]:
    return [pytest.param(package, id=package.id) for package in PACKAGES if package.survives in survives]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    with applied(Settings(only=("good", "bad"))):
        yield


@pytest.fixture(scope="module")
def sound(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Went]:
    """What the walk is like beside a package that behaves, and without it."""
    folder, entry = tmp_path_factory.mktemp("sound"), "[chiasm.plugins]\nbad = acme_bad\n"
    site = lay_down(folder, [wheel(folder, "acme-bad", {"acme_bad.py": sound_code()}, entry)])
    went = {}
    with site_of(site, "acme_"):
        for beside in (True, False):
            with applied(Settings(only=("good", "bad") if beside else ("good",))):
                went[beside] = walk(model)
    return went


def test_every_kind_of_the_list_is_there() -> None:
    assert {package.number for package in PACKAGES} == set(range(1, 33))
    assert len({package.id for package in PACKAGES}) == len(PACKAGES)


@pytest.mark.parametrize("package", of("inside"))
def test_it_has_its_row_and_its_neighbour_answers_to_the_bit(
    package: Package, model: Path, sound: dict[bool, Went], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = _state()
    with site_of(lay_down(tmp_path, package.wheels(tmp_path)), "acme_"):
        rows = {info.name: info for info in survey().plugins}
        went = walk(model) if package.good == "ok" else None
        bad = {info.name: info for info in discover().plugins}["bad"]
    assert _state() == before
    assert capfd.readouterr().out == ""
    assert (rows["bad"].status, bad.status) == (package.status, package.status)
    assert re.search(package.reason, rows["bad"].reason), rows["bad"].reason
    _check_line(rows["bad"].reason)
    assert rows["good"].status == package.good
    if went is None:
        return
    assert went.good == sound[went.bad is not None].good
    said = [notice for notice in went.notices if "bad" in notice]
    assert not package.notice or any(re.search(package.notice, notice) for notice in said), said
    for notice in said:
        _check_line(notice)


@pytest.mark.parametrize("package", of("child", "interrupt"))
def test_what_ends_the_process_is_a_row_all_the_same(
    package: Package, model: Path, sound: dict[bool, Went], tmp_path: Path
) -> None:
    with site_of(lay_down(tmp_path, package.wheels(tmp_path)), "acme_"):
        limit_s = SHORT_S if package.name == "hangs" else LONG_S
        rows = {info.name: info for info in survey(limit_s=limit_s).plugins}
        _, death = told_by(lambda tell: tell(walk(model).good), limit_s)  # the same road with nothing around it
        assert death is not None
        with applied(Settings(block=("bad",))):  # and it is left out as the doctor says
            assert walk(model).good == sound[False].good
    assert (rows["good"].status, rows["bad"].status) == ("ok", "failed")
    assert re.search(r"exit code (0|130)|signal SIGSEGV|did not come back within 4 s", rows["bad"].reason)
    _check_line(rows["bad"].reason)


def test_an_interrupt_in_this_process_is_the_users(model: Path, tmp_path: Path) -> None:
    (package,) = [package for package in PACKAGES if package.survives == "interrupt"]
    with site_of(lay_down(tmp_path, package.wheels(tmp_path)), "acme_"), pytest.raises(KeyboardInterrupt):
        walk(model)


def _check_line(text: str) -> None:
    assert len(text) <= 400
    assert "\n" not in text
    assert not re.search(r"0x[0-9a-f]{5}", text)


def _state() -> tuple[Any, ...]:
    numbers = (random.getstate(), torch.get_rng_state().tolist(), torch.get_default_dtype(), torch.is_grad_enabled())
    return (os.getcwd(), dict(os.environ), *numbers)
