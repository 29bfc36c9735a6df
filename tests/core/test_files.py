"""Files are written whole or not at all, and a disk that refuses is one line."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from chiasm.files import store, write_json, write_whole
from chiasm_registry.errors import ChiasmError, InputError, TrainingError


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_whole(path, b"old")
    write_whole(path, iter([b"ne", memoryview(b"w")]))
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_what_breaks_on_the_way_leaves_the_old_file_alone(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    path = tmp_path / "a.bin"
    write_whole(path, b"old")
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, chunks())
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_new_file_may_be_read_by_whom_the_process_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "a.bin", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "a.bin").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["missing/a.bin", "a\0b", "file/a.bin", "folder", "", "n" * 300])
def test_a_path_that_cannot_be_written_is_one_line_of_the_chosen_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for error in (InputError, TrainingError):
        with pytest.raises(ChiasmError, match="cannot write") as caught:
            write_whole(tmp_path / name, b"x", error=error)
        assert type(caught.value) is error
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) <= 200
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_json_holds_any_text(tmp_path: Path) -> None:
    value = {"name": "größe 鳥 \udc80", "numbers": [1, 2.5]}
    write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_bytes()) == value
    assert "größe 鳥" in (tmp_path / "a.json").read_text("utf-8")


def test_what_was_stored_is_what_its_hash_says(tmp_path: Path) -> None:
    from hashlib import sha256

    assert store(tmp_path / "a", [b"ab", b"c"]) == (3, sha256(b"abc").hexdigest())
    assert (tmp_path / "a").read_bytes() == b"abc"
