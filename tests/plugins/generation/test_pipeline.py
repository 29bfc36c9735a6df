"""Any pipeline of diffusers draws from projected slots; a folder that is not one, or brings code, is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from chiasm import ChiasmError
from chiasm_plugins.generation.piped import PipelineDecoder, PipelinePlugin
from chiasm_plugins.generation.pipeline import prompt_width, read_pipeline
from chiasm_registry import CheckpointError, CoreInfo, Route, TrainingError
from core.tiny import picture, tiny_model
from plugins.generation.making import CORE, WIDTH

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text-to-image pipeline of a few thousand random weights."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 8), layers_per_block=1, cross_attention_dim=12, norm_num_groups=4,
        attention_head_dim=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    text = CLIPTextConfig(
        vocab_size=len(words), hidden_size=12, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=8, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(block_out_channels=(8,), norm_num_groups=4),
        text_encoder=CLIPTextModel(text),
        tokenizer=CLIPTokenizer(vocab={word: k for k, word in enumerate(words)}, merges=[], model_max_length=8),
        unet=unet,
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    where = tmp_path_factory.mktemp("pipeline")
    pipeline.save_pretrained(where, safe_serialization=True)
    return where


def asked(phrases: Sequence[str]) -> list[Route]:
    generator = torch.Generator().manual_seed(0)
    slots = torch.randn(len(phrases), 4, WIDTH, generator=generator)
    return [Route("pipeline", phrase, one, one) for phrase, one in zip(phrases, slots, strict=True)]


def test_a_pipeline_draws_from_words(folder: Path) -> None:
    """The same seed the same picture, in any company; steps are told."""
    model, told = tiny_model(PipelinePlugin(folder).chiasm_tasks()), []
    options: dict[str, Any] = {"steps": 2, "guidance": 2.0}
    one = model.run("pipeline", None, ["dog"], **options, on_step=lambda done, steps: told.append((done, steps)))
    both = model.run("pipeline", None, ["cat", "dog"], **options)
    assert one.pictures[0].image.size == (8, 8)
    assert one.pictures[0].png == both.pictures[1].png
    assert told == [(1, 2), (2, 2)]
    assert model.run("pipeline", None, ["dog"], **options, seed=1).pictures != one.pictures


def test_a_pipeline_draws_from_an_image_by_the_same_road(folder: Path) -> None:
    model = tiny_model(PipelinePlugin(folder, image_to_image=True).chiasm_tasks())
    first, second = (model.run("pipeline", picture(30, 20, seed), ["dog"], steps=2) for seed in (0, 1))
    assert first.pictures[0].image.size == (8, 8)
    assert first.pictures != second.pictures
    with pytest.raises(ChiasmError, match="needs an image"):
        model.run("pipeline", None, ["dog"])


def test_the_projection_learns_what_the_pipeline_says_itself(folder: Path) -> None:
    """Only the projection is trained, and only it is saved."""
    torch.manual_seed(0)
    decoder = PipelineDecoder(read_pipeline(folder), CoreInfo(WIDTH, CORE.maps, CORE.dtype))
    assert all(name.startswith("prompts.") for name in decoder.state_dict())
    optimizer = torch.optim.Adam(decoder.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        loss = torch.stack(list(decoder.loss([], [asked(["dog", "cat"])], [[None, None]]).values())).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    with pytest.raises(TrainingError, match="takes no keys"):
        decoder.prepare({"lr": 1}, {})


def test_the_width_of_words_is_the_pipelines(folder: Path) -> None:
    assert prompt_width(read_pipeline(folder)) == 12


def broken(folder: Path, tmp_path: Path, **changes: Any) -> Path:
    """The folder with another index."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps({**index, **changes}))
    return copy


def test_code_in_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    """A component of the folder's own module is not even looked at."""
    bad = broken(folder, tmp_path, unet=["my_unet", "MyUNet"])
    (bad / "my_unet.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(CheckpointError, match="only diffusers and transformers are used"):
        read_pipeline(bad)
    bad = broken(folder, tmp_path / "custom", _class_name=["my_pipeline", "Mine"])
    with pytest.raises(CheckpointError, match="names no pipeline"):
        read_pipeline(bad)
    assert not (tmp_path / "ran").exists()


def test_pickled_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    bad = broken(folder, tmp_path)
    weights = next((bad / "unet").glob("*.safetensors"))
    torch.save({"x": torch.zeros(1)}, bad / "unet" / "diffusion_pytorch_model.bin")
    weights.unlink()
    with pytest.raises(CheckpointError, match="safetensors"):
        read_pipeline(bad)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"_class_name": 3}'])
def test_a_folder_without_an_index_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(CheckpointError, match="model_index"):
        read_pipeline(tmp_path / "nowhere")
    (tmp_path / "model_index.json").write_text(content)
    with pytest.raises(CheckpointError, match="model_index"):
        read_pipeline(tmp_path)
