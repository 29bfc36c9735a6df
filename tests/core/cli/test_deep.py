"""`plugins check --deep` asks a task on a model, beside the others, and from its own file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chiasm.cli.plugins import deep
from chiasm_registry.settings import Settings, applied
from core.bad_plugins.matrix import sound_code
from core.bad_plugins.road import checkpoint, lay_down, wheel
from core.tiny import picture
from registry.installing import site_of

ENTRY = "[chiasm.plugins]\nbad = acme_bad\n"


@pytest.fixture(autouse=True)
def _tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(deep, "MODEL", checkpoint(tmp_path / "tiny"))
    with applied(Settings(only=("good", "bad"))):
        yield


def tried(folder: Path, code: str) -> dict[str, str]:
    with site_of(lay_down(folder, [wheel(folder, "acme-bad", {"acme_bad.py": code}, ENTRY)]), "acme_"):
        return dict(deep._tried("bad", picture()))


def test_a_sound_task_answers_changes_nobody_and_comes_back_from_its_file(tmp_path: Path) -> None:
    assert tried(tmp_path, sound_code()) == {"nano": "", "nano_others": "", "nano_file": ""}


def test_what_is_not_in_the_file_is_seen(tmp_path: Path) -> None:
    code = sound_code().replace("(r.slots * self.gain).sum()", "(r.slots * self.gain).sum() + self.shift")
    code = code.replace("self.gain = nn", "self.shift = random.SystemRandom().random(); self.gain = nn", 1)
    found = tried(tmp_path, code)
    assert found["nano"] == ""
    assert found["nano_file"].startswith("read back from its own file it answers otherwise")


def test_a_task_without_answers_and_one_that_is_left_out_are_seen(tmp_path: Path) -> None:
    silent = sound_code().replace("return [Answer(", "return None and [Answer(")
    assert tried(tmp_path, silent)["nano"].startswith("0 answers to 2 phrases: task 'bad' failed: decode() must return")
    (tmp_path / "more").mkdir()
    homeless = sound_code().replace("return BadDecoder()", "return None")
    assert "decoder() of task 'bad' returned a NoneType" in tried(tmp_path / "more", homeless)["nano"]


def test_the_findings_are_told_as_the_kits_are(tmp_path: Path) -> None:
    told: list[Any] = []
    with site_of(lay_down(tmp_path, [wheel(tmp_path, "acme-bad", {"acme_bad.py": sound_code()}, ENTRY)]), "acme_"):
        deep.asked_on_nano("bad", told.append)
    assert told[0] == {"begins": "nano"}
    assert [one["rule"] for one in told if "rule" in one] == ["nano", "nano_others", "nano_file"]
    assert {one["verdict"] for one in told if "rule" in one} == {"ok"}
