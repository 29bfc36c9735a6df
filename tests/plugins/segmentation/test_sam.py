"""Promises of the import of segment-anything, and of whole SAMs: tiny random ones stand for the published."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chiasm.cli.app import run
from chiasm_plugins.segmentation import answers
from chiasm_plugins.segmentation.decoder import SegmentationDecoder
from chiasm_plugins.segmentation.sam import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from chiasm_registry import Box, Boxes, Scene, ScoredBox
from plugins.segmentation.masking import CORE, route, scene


def tiny_sam() -> Any:
    torch.manual_seed(5)
    encoder = ImageEncoderViT(
        img_size=64, patch_size=8, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2.0, out_chans=32, use_rel_pos=True,
        norm_layer=lambda size: torch.nn.LayerNorm(size, eps=1e-6), window_size=3, global_attn_indexes=(1,),
    )
    transformer = TwoWayTransformer(depth=2, embedding_dim=32, num_heads=8, mlp_dim=48)
    masks = MaskDecoder(transformer_dim=32, transformer=transformer, iou_head_hidden_dim=24)
    return Sam(encoder, PromptEncoder(32, (8, 8), (64, 64), 16), masks).eval()


def grown(sam: Any) -> SegmentationDecoder:
    head = SegmentationDecoder(CORE)
    tensors = {f"large.{name}": tensor for name, tensor in sam.state_dict().items()}
    head.grow(tensors)
    head.load_state_dict(tensors)
    return head.eval()


def picture(size_hw: tuple[int, int]) -> Scene:
    """A smooth picture, so that two ways of resampling it agree."""
    rows, columns = np.mgrid[:64, :64] / 64
    pixels = torch.from_numpy(np.stack([rows, columns, np.sin(4 * rows + columns) / 2 + 0.5])).float()
    made = scene(size_hw)
    return Scene(size_hw=size_hw, maps=made.maps, view=lambda size: pixels)


def test_the_package_is_left_as_it_was() -> None:
    code = (
        "import sys, chiasm_plugins.segmentation.sam as sam\n"
        "assert 'segment_anything' not in sys.modules and 'torchvision' not in sys.modules\n"
        "import importlib.util; print(importlib.util.find_spec('segment_anything').origin is not None)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "True"


@pytest.mark.parametrize("size_hw", [(64, 64), (32, 64), (90, 60)])
def test_a_whole_sam_answers_as_the_package_does(
    size_hw: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "clean", lambda logits: logits)  # ours; weights that know nothing draw many islands
    sam, shown = tiny_sam(), picture(size_hw)
    scale = 64 / max(size_hw)
    height, width = (int(side * scale + 0.5) for side in size_hw)
    image = torch.nn.functional.interpolate(shown.view(64)[None], (height, width), mode="bilinear", antialias=True)[0]
    box, point = (4.0, 6.0, 30.0, 25.0), (20.0, 12.0, 1)
    each = torch.tensor([width / size_hw[1], height / size_hw[0]])
    record = {
        "image": image * 255, "original_size": size_hw, "boxes": torch.tensor([box]) * each.repeat(2),
        "point_coords": torch.tensor([[point[:2]]]) * each, "point_labels": torch.tensor([[1.0]]),
    }
    (theirs,) = sam([record], multimask_output=False)
    (ours,) = grown(sam).decode(shown, [route("", boxes=(box,), points=(point,))])
    mask = theirs["masks"][0, 0].numpy()
    assert (ours.items[0].mask.numpy() != mask).mean() < 0.05  # enlarged in one step, not in two
    assert ours.items[0].score == pytest.approx(float(theirs["iou_predictions"][0, 0].clamp(0, 1)), abs=2e-3)


def test_a_whole_sam_outlines_what_detection_found_and_refuses_words_alone() -> None:
    head = grown(tiny_sam())
    found = Boxes(items=(ScoredBox(box=Box(xyxy=(4.0, 6.0, 30.0, 25.0)), score=0.5),))
    (output,) = head.decode(picture((64, 64)), [route(earlier=(found,))])
    assert output.items[0].of == 0
    with pytest.raises(Exception, match="know no words"):
        head.decode(picture((64, 64)), [route("dog")])


def test_half_precision_works_with_a_whole_sam() -> None:
    head = grown(tiny_sam()).to(torch.bfloat16)
    shown = picture((64, 64))
    maps = tuple(m.bfloat16() for m in shown.maps)
    half = Scene(size_hw=(64, 64), maps=maps, view=lambda size: shown.view(size).bfloat16())
    (output,) = head.decode(half, [route("", boxes=((4.0, 6.0, 30.0, 25.0),))])
    assert len(output.items) == 1


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nano with a segmentation task of its own, untrained."""
    from chiasm.checkpoint import read_checkpoint, write_again
    from chiasm.checkpoint.taskfile import TaskFile
    from chiasm.models import model_folder

    held = read_checkpoint(model_folder("nano"))
    rows = [torch.zeros(n, held.core["internvl.model.language_model.norm.weight"].shape[0]) for n in (1, 1, 4)]
    fresh = TaskFile("segmentation", "[SEG]", 4, "chiasm", "0", 9, *rows, decoder={"a": torch.ones(1)})
    own = held.tasks.get("segmentation") or fresh
    folder = tmp_path_factory.mktemp("model")
    write_again(folder, replace(held, tasks={**held.tasks, "segmentation": own}))
    return folder


def test_a_checkpoint_is_converted_and_used(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import chiasm
    from PIL import Image

    torch.save(tiny_sam().state_dict(), tmp_path / "sam.pth")
    out = tmp_path / "large.safetensors"
    assert run(["convert", "sam", str(tmp_path / "sam.pth"), str(out), "--model", str(model)]) == 0
    assert "tensors in" in capsys.readouterr().out
    loaded = chiasm.load(str(model), tasks_from=[out])
    result = loaded.segment(Image.new("RGB", (80, 60), "red"), boxes=[(5, 5, 40, 40), (10, 10, 70, 50)])
    assert len(result.objects) == 2
    assert not result.notices


class Trap:
    """Pickled, it would make a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("kind", ["code", "zip code", "truncated", "text", "empty", "missing", "foreign", "list"])
def test_what_is_no_checkpoint_is_refused_in_one_line_and_never_run(
    kind: str, tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, trap = tmp_path / "sam.pth", tmp_path / "sprung"
    if kind == "code":
        path.write_bytes(pickle.dumps({"image_encoder.a": Trap(trap)}))
    elif kind == "zip code":
        torch.save({"image_encoder.a": Trap(trap)}, path)
    elif kind == "truncated":
        torch.save(tiny_sam().state_dict(), path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind in ("text", "empty"):
        path.write_bytes(b"hello" if kind == "text" else b"")
    elif kind in ("foreign", "list"):
        torch.save({"encoder.weight": torch.ones(2)} if kind == "foreign" else [torch.ones(2)], path)
    out = tmp_path / "out.safetensors"
    assert run(["convert", "sam", str(path), str(out), "--model", str(model)]) == 2
    said = capsys.readouterr().err.strip()
    assert said
    assert "\n" not in said
    assert "Traceback" not in said
    assert not trap.exists()
    assert not out.exists()
