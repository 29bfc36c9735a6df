"""The benchmark of choices: the best box, any of the first, and the one by the other, of things in pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import chiasm
import numpy as np
import pytest
from chiasm_registry import Box, Boxes, Mask, ScoredBox
from house import ROOT
from PIL import Image

LARGE, SMALL, NOWHERE = (10.0, 10.0, 60.0, 60.0), (80.0, 80.0, 90.0, 90.0), (0.0, 90.0, 5.0, 99.0)
Xyxy = tuple[float, float, float, float]


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def items(*boxes: tuple[Xyxy, float]) -> tuple[ScoredBox, ...]:
    return tuple(ScoredBox(box=Box(xyxy=xyxy), score=score) for xyxy, score in boxes)


def mask(*boxes: Xyxy) -> Mask:
    """A mask in a picture of 100 x 100, of which 460 pixels are large."""
    bits = np.zeros((100, 100), dtype=bool)
    for x0, y0, x1, y1 in boxes:
        bits[int(y0) : int(y1), int(x0) : int(x1)] = True
    return Mask.from_numpy(bits)


def test_the_best_box_and_any_of_the_first_are_told_apart() -> None:
    from chosen import Choice, judge

    assert judge(items((LARGE, 0.9), (SMALL, 0.5)), mask(LARGE)) == Choice(large=True, best=True, among=True)
    assert judge(items((LARGE, 0.9), (SMALL, 0.5)), mask(SMALL)) == Choice(large=False, best=False, among=True)
    assert judge(items((LARGE, 0.9)), mask(SMALL)) == Choice(large=False, best=False, among=False)
    assert judge((), mask(SMALL)) == Choice(large=False, best=False, among=False)
    assert judge(items((LARGE, 0.9)), mask()) is None


def test_a_box_that_half_fits_is_right() -> None:
    from chosen import judge

    for width, right in ((26.0, True), (24.0, False)):  # of 50
        choice = judge(items(((10.0, 10.0, 10.0 + width, 60.0), 0.9)), mask(LARGE))
        assert choice is not None
        assert choice.best is right


def test_what_lost_the_comparison_is_among_the_first() -> None:
    """It stands at the end with a score of 0; what comes behind the first 24 is not counted."""
    from chosen import first, judge

    weak = [(NOWHERE, 0.1 - k / 1000) for k in range(40)]
    lost = items((LARGE, 0.9), *weak, (SMALL, 0.0))
    assert [item.box.xyxy for item in first(lost)[:3]] == [LARGE, SMALL, NOWHERE]
    assert len(first(lost)) == 24
    for boxes, among in ((lost, True), (items((LARGE, 0.9), *weak, (SMALL, 0.01)), False)):
        choice = judge(boxes, mask(SMALL))
        assert choice is not None
        assert choice.among is among


class Fake:
    """Finds the large thing first, whatever is asked, and the small one behind it."""

    def run(self, task: str, picture: Image.Image, phrases: list[str], **options: Any) -> Any:
        assert (task, options) == ("detection", {"threshold": 0.0, "max_objects": 1000})
        assert "gnu" not in phrases
        found = items((LARGE, 0.8), (SMALL, 0.0))
        outputs = tuple(Boxes(phrase=p, items=() if p == "lost" else found) for p in phrases)
        return type("Answer", (), {"outputs": {"detection": outputs}})()


def test_the_shares_are_of_all_phrases_that_mean_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from chosen import main

    truth = {"large one": mask(LARGE), "small one": mask(SMALL), "lost": mask(NOWHERE), "gnu": None}
    rows = [{"image_id": 0, "phrase": p, "segmentation": m and dict(m.rle)} for p, m in truth.items()]
    images = [{"id": 0, "file_name": "0.png", "height": 100, "width": 100}]
    (tmp_path / "refer.json").write_text(json.dumps({"images": images, "requests": rows}))
    Image.new("RGB", (100, 100)).save(tmp_path / "0.png")
    monkeypatch.setitem(vars(chiasm), "load", lambda name, **options: Fake())
    line = ["--referring", str(tmp_path / "refer.json"), "--images", str(tmp_path)]
    main([*line, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["all"] == {"phrases": 3, "best": 1 / 3, "among": 2 / 3, "chosen": 1 / 2}
    assert found["large"] == {"phrases": 1, "best": 1.0, "among": 1.0, "chosen": 1.0}
    main(line)
    assert "all        3 phrases  best 0.333  among 0.667  chosen 0.500" in capsys.readouterr().out
