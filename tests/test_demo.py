"""The demo finds its photographs in scikit-image's wheel and leaves a picture and a JSON file for each request."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import chiasm
import pytest
from chiasm.images import open_image
from chiasm.result import Object, Result
from chiasm_registry.geometry import Box

DEMO = Path(__file__).resolve().parent.parent / "examples" / "demo.py"


class _Model:
    table = SimpleNamespace(tasks=("detection", "segmentation"))
    untrained: frozenset[str] = frozenset()

    def detect(self, image: Path, names: tuple[str, ...], *, threshold: float) -> Result:
        picture = open_image(image).rgb
        thing = Object(label=names[0], score=0.9, box=Box(xyxy=(10.0, 10.0, 200.0, 200.0)), task="detection")
        return Result(size_hw=(picture.height, picture.width), objects=(thing,)).remember(picture)

    def segment(self, image: Path, names: tuple[str, ...], *, threshold: float) -> Result:
        return self.detect(image, names, threshold=threshold)

    def ask(self, image: Path, prompt: str, *, threshold: float) -> Result:
        return self.detect(image, (prompt,), threshold=threshold)


def test_every_photograph_gets_three_pictures_and_their_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("skimage")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(vars(chiasm), "load", lambda name: _Model())
    demo: dict[str, Any] = runpy.run_path(str(DEMO))
    assert demo["main"]() == 0
    assert len(capsys.readouterr().out.splitlines()) == 3 * len(demo["SHOWS"])
    files = sorted((tmp_path / "demo-output").iterdir())
    assert len(files) == 6 * len(demo["SHOWS"])
    for file in files:
        if file.suffix == ".json":
            assert json.loads(file.read_text(encoding="utf-8"))["objects"]
