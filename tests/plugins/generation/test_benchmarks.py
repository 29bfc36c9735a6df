"""The benchmark of pictures measures what it says: a copy is near, also in another light."""

from __future__ import annotations

import json

import chiasm
import pytest
import torch
from chiasm_plugins.generation.task import Generation
from core.tiny import picture, tiny_model
from house import ROOT
from PIL import ImageEnhance

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def test_a_copy_is_near_and_another_picture_is_not() -> None:
    from pictures import nearest, small

    one, other = picture(64, 64, 1), picture(64, 64, 2)
    darker = ImageEnhance.Brightness(one).enhance(0.7)
    assert nearest(small(darker), [small(other), small(one)]) < 0.1
    assert nearest(small(darker), [small(other)]) > 0.5
    assert nearest(small(one), []) == float("inf")


def test_it_says_how_long_a_picture_takes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from pictures import main

    model = tiny_model([Generation()])
    monkeypatch.setattr(chiasm, "load", lambda name, tasks: model)
    assert main(["--threads", "1", "--runs", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seconds"] > 0
