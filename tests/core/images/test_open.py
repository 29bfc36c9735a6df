"""Every honest image opens upright and equal; every bad one is refused in one line, quickly, in little memory."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chiasm.images import open_image
from chiasm.limits import Limits
from chiasm_registry.errors import InputError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

HOSTILE = Path(__file__).with_name("hostile_images") / "run.py"


@pytest.fixture(scope="module")
def endings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """How each hostile case ended, each in a process of its own."""
    folder = tmp_path_factory.mktemp("hostile")
    done = subprocess.run([sys.executable, HOSTILE, folder], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    endings: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return endings


@pytest.mark.slow
@pytest.mark.parametrize("item", range(1, 42))
def test_hostile_image(item: int, endings: dict[str, dict[str, Any]]) -> None:
    """Each item ends as promised: no signal, no traceback, no waiting, below 1 GB."""
    of_item = {name: ending for name, ending in endings.items() if name.startswith(f"item{item:02}_")}
    assert of_item
    for name, ending in of_item.items():
        assert ending["wrong"] == "", name
        assert ending["signal"] == 0, name
        assert ending["seconds"] < 10, name
        assert ending["megabytes"] < 1000, name


def test_opening_images_needs_no_torch() -> None:
    """Importing the package loads neither torch nor numpy."""
    code = "import sys, chiasm.images; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    kind=st.sampled_from(["PNG", "BMP", "TIFF", "WEBP", "array", "tensor", "pil"]),
    mode=st.sampled_from(["RGB", "L"]),
    seed=st.integers(0, 2**32 - 1),
)
def test_honest_images_open_equal(width: int, height: int, kind: str, mode: str, seed: int) -> None:
    """Whatever way a lossless picture comes in, its pixels come out unchanged."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    opened = open_image(_as(image, kind))
    assert opened.size_hw == (height, width)
    assert np.array_equal(np.asarray(opened.rgb), np.asarray(image.convert("RGB")))
    assert opened.notes == ()


def _as(image: Image.Image, kind: str) -> Any:
    if kind == "pil":
        return image
    if kind == "array":
        return np.asarray(image)
    if kind == "tensor":
        import torch

        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return buffer.getvalue()


def test_limits_of_the_caller_hold() -> None:
    """A changed copy of the limits is obeyed."""
    image = Image.new("RGB", (20, 10))
    with pytest.raises(InputError, match="20 x 10 pixels; the limit"):
        open_image(image, limits=Limits(image_pixels=199))
    assert open_image(image, limits=Limits(image_pixels=200)).size_hw == (10, 20)


def test_the_source_is_the_path_as_it_was_given(tmp_path: Path) -> None:
    """Whole and to the letter, where the name in messages is cut; only a path has one; JSON can hold it."""
    folder = tmp_path / ("long " * 20) / "«ü»\n"
    folder.mkdir(parents=True)
    path, odd = folder / "a.png", os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    image = Image.new("RGB", (4, 3))
    for file in (path, odd):
        image.save(file, "PNG")
    assert [open_image(one).source for one in (path, str(path))] == [str(path), str(path)]
    assert str(path) not in open_image(path).name
    assert open_image(odd).source == f"{tmp_path}/?.png"
    assert [open_image(one).source for one in (path.read_bytes(), image, np.asarray(image))] == [None] * 3


def test_the_transparent_grey_of_a_16_bit_png_becomes_white() -> None:
    """As transparent pixels of every other kind do."""
    buffer = io.BytesIO()
    Image.fromarray(np.array([[0, 257, 258, 514]], np.uint16)).save(buffer, "PNG", transparency=257)
    assert np.asarray(open_image(buffer.getvalue()).rgb)[0, :, 0].tolist() == [0, 255, 1, 2]
