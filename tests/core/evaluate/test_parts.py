"""Answers survive an interrupt; a folder of another evaluation is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chiasm.evaluate.parts import Parts
from chiasm_registry.errors import InputError

PINS = {"model": "nano", "gt": "abc"}


def _read(folder: Path) -> dict[int, Any]:
    parts = Parts(folder, PINS)
    parts.close()
    return parts.done


def _written(folder: Path) -> Path:
    parts = Parts(folder, PINS)
    parts.add({1: {"rows": []}, 2: {"rows": [{"score": 0.1}]}})
    parts.close()
    return folder / "part-0.jsonl"


def test_answers_come_back(tmp_path: Path) -> None:
    """What was added is there for the next run, to the last bit."""
    _written(tmp_path)
    assert _read(tmp_path) == {1: {"rows": []}, 2: {"rows": [{"score": 0.1}]}}


@pytest.mark.parametrize("cut", range(1, 45, 4))
def test_a_torn_last_line_is_dropped(tmp_path: Path, cut: int) -> None:
    """A kill in the middle of a line loses that line alone, and the file goes on behind the whole ones."""
    path = _written(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    again = Parts(tmp_path, PINS)
    assert again.done == {1: {"rows": []}}
    again.add({2: {"rows": []}})
    again.close()
    assert set(_read(tmp_path)) == {1, 2}


def test_even_a_torn_header_is_survived(tmp_path: Path) -> None:
    """A file that holds half a header is as good as none."""
    (tmp_path / "part-0.jsonl").write_bytes(b'{"form')
    parts = Parts(tmp_path, PINS)
    parts.add({1: {}})
    parts.close()
    assert _read(tmp_path) == {1: {}}


def test_another_configuration_is_refused_with_the_difference(tmp_path: Path) -> None:
    """The message names what differs."""
    _written(tmp_path)
    with pytest.raises(InputError, match="with model 'nano', this one has 'other'"):
        Parts(tmp_path, {**PINS, "model": "other"})


def test_damage_in_the_middle_is_named(tmp_path: Path) -> None:
    """A line that is no answer is not silently evaluated again."""
    path = _written(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'{"image_id": 1', b'{"image_id" 1'))
    with pytest.raises(InputError, match=r"part-0\.jsonl: damaged"):
        Parts(tmp_path, PINS)


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    """The second is refused while the first writes."""
    first = Parts(tmp_path, PINS)
    with pytest.raises(InputError, match="another evaluation is writing"):
        Parts(tmp_path, PINS)
    first.close()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """--out on a file is one line."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Parts(tmp_path / "file", PINS)


def test_what_was_left_out_is_asked_again(tmp_path: Path) -> None:
    """A photograph that could not be opened may be mended by then."""
    parts = Parts(tmp_path, PINS)
    parts.add({1: {"rows": []}, 2: {"skipped": "2.jpg is torn"}})
    assert set(parts.done) == {1, 2}
    parts.close()
    assert set(_read(tmp_path)) == {1}
