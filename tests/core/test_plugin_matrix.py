"""Whatever a plugin does, wherever its code runs: the others answer as if it had behaved, and one line says so.

What no process survives is survived by another one: the walk in a child ends with a known death, and the same walk
without the package goes through.
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from chiasm_registry import ChiasmError
from chiasm_registry.child import told_by
from chiasm_registry.settings import Settings, applied
from core.bad_plugins.matrix import FAULTS, PLACES, Cell, cells, sound_code
from core.bad_plugins.road import Went, checkpoint, lay_down, task_file, walk, wheel, write_task_file
from registry.installing import site_of
from safetensors.torch import save_file

CELLS = cells()
SHORT_S, LONG_S = 0.8, 120.0  # for what hangs, and for what does not
OURS = ("good", "bad")


def of(survives: str) -> list[Any]:
    chosen = [cell for cell in CELLS if cell.survives == survives]
    return [pytest.param(cell, id=f"{cell.place}-{cell.fault}".replace(" ", "_")) for cell in chosen]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def alone() -> Iterator[None]:
    with applied(Settings(only=OURS)):
        yield


def site(folder: Path, code: str) -> Path:
    return lay_down(folder, [wheel(folder, "acme-bad", {"acme_bad.py": code}, "[chiasm.plugins]\nbad = acme_bad\n")])


@pytest.fixture(scope="module")
def sound(model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Went]:
    """What the walk is like beside a package that behaves, and without it."""
    with site_of(site(tmp_path_factory.mktemp("sound"), sound_code()), "acme_"):
        with applied(Settings(only=OURS)):
            with_it = walk(model)
        with applied(Settings(only=("good",))):
            without = walk(model)
    assert (with_it.bad, without.bad) == (2, None)
    assert with_it.rows["bad"] == ("ok", "")
    return {True: with_it, False: without}


def test_there_are_120_cells() -> None:
    assert (len(PLACES), len(FAULTS), len(CELLS)) == (10, 12, 120)
    counts = {kind: len(of(kind)) for kind in ("inside", "child", "interrupt", "nowhere")}
    assert counts == {"inside": 84, "child": 20, "interrupt": 9, "nowhere": 7}


@pytest.mark.parametrize("cell", of("inside"))
def test_what_can_be_survived_is_isolated_and_said_in_one_line(
    cell: Cell,
    model: Path,
    sound: dict[bool, Went],
    alone: None,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    files = _file(cell, tmp_path)
    before = _state()
    with site_of(site(tmp_path, cell.code), "acme_"), caplog.at_level(logging.INFO, "chiasm.plugins"):
        try:
            went = walk(model, files)
        except ChiasmError as refused:  # weights that the caller names must fit; the model is there without them
            assert files or cell.place == "embeddings", cell
            went, lines = None, [str(refused)]
            with applied(Settings(only=("good",))):
                assert walk(model).good == sound[False].good
    assert _state() == before
    if went is not None:
        like = sound[went.bad is not None]
        assert went.good == like.good
        lines = [*went.notices, *(reason for _, reason in went.rows.values()), *caplog.messages]
        assert went.rows["good"] == ("ok", "")
        assert _good_part(went.text) == _good_part(like.text)
    assert capfd.readouterr().out == ""
    for line in lines:
        assert len(line) <= 400
        assert "\n" not in line
        assert not re.search(r"0x[0-9a-f]{5}", line)
    if cell.fault in ("raises", "changes state", "calls back", "leaks") or cell.file_fault:
        assert any("bad" in line or "found()" in line or "a result" in line or "drawing" in line for line in lines), (
            lines
        )


@pytest.mark.parametrize("cell", of("interrupt"))
def test_an_interrupt_is_the_users_wherever_it_comes_from(cell: Cell, model: Path, alone: None, tmp_path: Path) -> None:
    with site_of(site(tmp_path, cell.code), "acme_"), pytest.raises(KeyboardInterrupt):
        walk(model)


@pytest.mark.parametrize("cell", of("child"))
def test_what_kills_a_process_kills_the_child_alone(
    cell: Cell, model: Path, sound: dict[bool, Went], alone: None, tmp_path: Path
) -> None:
    def work(tell: Any) -> None:
        if cell.place != "close":
            walk(model)
            return
        import atexit

        atexit._clear()  # of the host's, which a copy of it must not run
        walk(model)
        atexit._run_exitfuncs()

    with site_of(site(tmp_path, cell.code), "acme_"):
        _, death = told_by(work, SHORT_S if cell.fault == "hangs" else LONG_S)
        if cell.fault == "hangs":
            assert death == "it did not come back within 0.8 s, and was stopped"
        else:
            assert death == "it ended the process itself, with exit code 0"
        with applied(Settings(only=("good",))):
            assert walk(model).good == sound[False].good


def _good_part(text: str) -> Any:
    return json.loads(text)["outputs"]["good"]


def _state() -> tuple[Any, ...]:
    numbers = (random.getstate(), torch.get_rng_state().tolist(), torch.get_default_dtype(), torch.is_grad_enabled())
    return (os.getcwd(), os.environ.get("ACME"), *numbers)


def _file(cell: Cell, folder: Path) -> list[Path]:
    """The bad task's weights as a file of the caller's, if it is they that are bad."""
    vectors = task_file("bad", 1).vectors
    changes: dict[str, dict[str, Any]] = {
        "huge embeddings": {"vectors": vectors * 1e9},
        "a tensor too many": {"decoder": {"gain": torch.ones(vectors.shape[1]), "more": torch.ones(3)}},
        "a row too many": {"vectors": torch.cat([vectors, vectors[:1]]), "embeddings": 3},
    }
    if not cell.file_fault:
        return []
    path = folder / "bad.safetensors"
    if cell.file_fault == "nan in the decoder":  # ours would not write it
        file = task_file("bad", 1)
        rows = {"rows.input": file.rows_input, "rows.output": file.rows_output, "embeddings": file.vectors}
        gain = torch.full((vectors.shape[1],), float("nan"))
        save_file({**rows, "decoder.gain": gain}, path, {"chiasm.task": json.dumps(file.entry.model_dump())})
    else:
        write_task_file(path, task_file("bad", 1, **changes[cell.file_fault]))
    return [path]
