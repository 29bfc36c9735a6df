"""A core over devices that were named, or with smaller weights: the same answers, or nearly."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from chiasm.images import open_image
from chiasm.loading import load
from chiasm.model import Model
from chiasm.scene import look_at
from chiasm_registry import InputError
from core.official import configuration, make_official
from core.tiny import picture
from torch import Tensor


@pytest.fixture(scope="module")
def folder(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of sides that every library can cut into its blocks."""
    config = configuration(shared, "2b", hidden_size=64, intermediate_size=128, num_key_value_heads=4)
    config["vision_config"] |= {"hidden_size": 64, "intermediate_size": 128}
    return make_official(tmp_path_factory.mktemp("spread") / "m", config, shared / "golden" / "internvl2-2b")


def logits(model: Model) -> Tensor:
    network: Any = model.network.backbone_module
    with torch.inference_mode():
        said: Tensor = network.internvl(input_ids=torch.tensor([[1, 300, 301, 302]])).logits
    return said.float()


def test_a_device_map_gives_the_same_model(folder: Path) -> None:
    plain, spread = load(folder, tasks=[]), load(folder, tasks=[], device_map="auto", max_memory={"cpu": "1GB"})
    assert torch.equal(logits(plain), logits(spread))
    assert plain.ask(picture(), "What?", max_new_tokens=4).text == spread.ask(picture(), "What?", max_new_tokens=4).text


@pytest.mark.parametrize(("bits", "library", "most"), [("8bit", "torchao", 0.05), ("4bit", "bitsandbytes", 0.4)])
def test_smaller_weights_say_nearly_the_same(folder: Path, bits: str, library: str, most: float) -> None:
    if find_spec(library) is None:
        pytest.skip(f"needs {library}")
    whole, small = load(folder, tasks=[]), load(folder, tasks=[], quantize=bits)
    exact, rounded = logits(whole), logits(small)
    assert 0 < float((exact - rounded).abs().mean()) < most * float(exact.abs().mean())
    assert small.ask(picture(), "What?", max_new_tokens=2).text is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device_map": "auto", "max_memory": {"cpu": "10KB"}}, "does not fit"),
        ({"quantize": "3bit"}, "quantize is '3bit'; it must be '8bit' or '4bit'"),
        ({"device_map": "nowhere"}, "does not fit the devices"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load(folder, tasks=[], **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 200


def test_a_library_that_is_not_there_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchao.quantization", None)
    with pytest.raises(InputError, match=r"pip install 'chiasm\[quantize\]'"):
        load(folder, tasks=[], quantize="8bit")


def test_a_model_with_a_trunk_is_loaded_whole() -> None:
    with pytest.raises(InputError, match="for InternVL without a trunk"):
        load("nano", tasks=[], quantize="8bit")


def test_images_are_cut_into_as_many_tiles_as_the_caller_says(folder: Path) -> None:
    wide, seen = picture(200, 50), {}
    for name, options in {"own": {}, "one": {"max_tiles": 1}, "more": {"min_tiles": 3, "max_tiles": 4}}.items():
        model = load(folder, tasks=[], **options)
        (look,) = look_at(model.network, [open_image(wide)])
        seen[name] = len(look.tokens) // model.network.backbone.tokens_per_tile
    assert seen == {"own": 5, "one": 1, "more": 5}
    with pytest.raises(InputError, match="min_tiles 9 is over max_tiles 4"):
        load(folder, tasks=[], min_tiles=9, max_tiles=4)
    with pytest.raises(InputError, match="max_tiles is 0"):
        load(folder, tasks=[], max_tiles=0)
