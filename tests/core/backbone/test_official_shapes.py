"""Shapes that no recording has, against the published equations, written down here on the official tensors."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from chiasm.backbone import load_backbone
from chiasm.backbone.official import folder as opening
from chiasm.backbone.official.names import Place
from chiasm.checkpoint.shards import open_shards
from chiasm.limits import LIMITS
from chiasm_registry.errors import CheckpointError
from core.official import configuration, make_official
from safetensors.torch import load_file, save_file
from torch import Tensor

CLOSE = 1e-4


def rms(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


def turned(x: Tensor, theta: float) -> Tensor:
    """(heads, L, d) with the two halves of each head rotated by position."""
    half = x.shape[-1] // 2
    angles = torch.arange(x.shape[1])[:, None] / theta ** (torch.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], -1)


def internlm2(w: dict[str, Tensor], llm: dict[str, Any], ids: list[int]) -> Tensor:
    """Logits (L, V): query heads of a group, its key and its value lie together in `wqkv`."""
    heads, groups, eps = llm["num_attention_heads"], llm["num_key_value_heads"], llm["rms_norm_eps"]
    x = w["model.tok_embeddings.weight"][ids]
    for k in range(llm["num_hidden_layers"]):
        own = {name.removeprefix(f"model.layers.{k}."): t for name, t in w.items() if f".layers.{k}." in name}
        h = rms(x, own["attention_norm.weight"], eps)
        qkv = F.linear(h, own["attention.wqkv.weight"], own.get("attention.wqkv.bias"))
        qkv = qkv.view(len(ids), groups, heads // groups + 2, -1)
        query = qkv[:, :, :-2].flatten(1, 2).transpose(0, 1)  # (heads, L, d)
        key, value = (qkv[:, :, i].transpose(0, 1).repeat_interleave(heads // groups, 0) for i in (-2, -1))
        query, key = turned(query, llm["rope_theta"]), turned(key, llm["rope_theta"])
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(0, 1).flatten(1)
        x = x + F.linear(mixed, own["attention.wo.weight"], own.get("attention.wo.bias"))
        h = rms(x, own["ffn_norm.weight"], eps)
        gate, up = F.linear(h, own["feed_forward.w1.weight"]), F.linear(h, own["feed_forward.w3.weight"])
        x = x + F.linear(F.silu(gate) * up, own["feed_forward.w2.weight"])
    return F.linear(rms(x, w["model.norm.weight"], eps), w["output.weight"])


def eye(w: dict[str, Tensor], vision: dict[str, Any], pixels: Tensor, layer: int) -> Tensor:
    """States (T, 1 + patches, C) of one layer."""
    heads, eps = vision["num_attention_heads"], vision["layer_norm_eps"]

    def norm(x: Tensor, name: str) -> Tensor:
        if vision["norm_type"] == "rms_norm":
            return rms(x, w[f"{name}.weight"], eps)
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps)

    patches = F.conv2d(pixels, w["embeddings.patch_embedding.weight"], w["embeddings.patch_embedding.bias"],
                       stride=vision["patch_size"])  # fmt: skip
    place, side = w["embeddings.position_embedding"], vision["image_size"] // vision["patch_size"]
    grid = place[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, patches.shape[-2:], mode="bicubic", align_corners=False)
    x = torch.cat([w["embeddings.class_embedding"].expand(len(pixels), 1, -1), patches.flatten(2).transpose(1, 2)], 1)
    x = x + torch.cat([place[:, :1], grid.flatten(2).transpose(1, 2)], 1)
    states = [x]
    for k in range(vision["num_hidden_layers"]):
        name = f"encoder.layers.{k}"
        h = F.linear(norm(x, f"{name}.norm1"), w[f"{name}.attn.qkv.weight"], w.get(f"{name}.attn.qkv.bias"))
        query, key, value = h.chunk(3, -1)
        if vision["qk_normalization"]:
            query, key = (rms(t, w[f"{name}.attn.{n}_norm.weight"], eps) for t, n in ((query, "q"), (key, "k")))
        query, key, value = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (query, key, value))
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        mixed = F.linear(mixed, w[f"{name}.attn.proj.weight"], w[f"{name}.attn.proj.bias"])
        x = x + mixed * w[f"{name}.ls1"]
        h = F.gelu(F.linear(norm(x, f"{name}.norm2"), w[f"{name}.mlp.fc1.weight"], w[f"{name}.mlp.fc1.bias"]))
        x = x + F.linear(h, w[f"{name}.mlp.fc2.weight"], w[f"{name}.mlp.fc2.bias"]) * w[f"{name}.ls2"]
        states.append(x)
    return states[layer]


def part(folder: Path, prefix: str) -> dict[str, Tensor]:
    weights = load_file(folder / "model.safetensors")
    return {name.removeprefix(prefix): t.float() for name, t in weights.items() if name.startswith(prefix)}


@pytest.mark.parametrize(
    ("heads", "groups", "width", "bias"), [(6, 3, 48, True), (4, 4, 32, False), (8, 1, 64, True), (12, 4, 120, False)]
)
@torch.inference_mode()
def test_any_number_of_heads_and_groups(
    shared: Path, tmp_path: Path, heads: int, groups: int, width: int, bias: bool
) -> None:
    config = configuration(
        shared, "2b", hidden_size=width, num_attention_heads=heads, num_key_value_heads=groups, bias=bias,
        rope_scaling=None, num_hidden_layers=3, max_position_embeddings=512, rope_theta=12345,
    )  # fmt: skip
    folder = make_official(tmp_path / "m", config, tmp_path, seed=heads)
    model = load_backbone(folder, image_token_id=1, dtype=torch.float32)
    ids = [(7 * k) % 400 + 3 for k in range(40)]
    wanted = internlm2(part(folder, "language_model."), config["llm_config"], ids)
    assert float((model(input_ids=torch.tensor([ids])).logits[0] - wanted).abs().max()) < CLOSE


@pytest.mark.parametrize(("groups", "queries"), [(0, 1), (1, 4), (2, 1), (8, 2)])
def test_rows_are_where_joining_puts_them(groups: int, queries: int) -> None:
    place, heads = Place("o", ("q", "k", "v"), groups, queries), max(groups, 1)
    parts = [torch.randn(5 * heads * count, 3) for count in (queries, 1, 1)]
    whole = place.join(parts)
    for part, rows in zip(parts, place.rows(len(whole)), strict=True):
        assert torch.equal(torch.cat([whole[some] for some in rows]), part)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_mapped_weights_are_the_copied_ones(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    """Heads of a whole page are taken from where they lie, and each is looked at."""
    config = configuration(
        shared, "2b", hidden_size=128, num_attention_heads=8, num_key_value_heads=4, num_hidden_layers=2
    )  # fmt: skip
    folder = make_official(tmp_path / "m", config, tmp_path)
    copied = load_backbone(folder, image_token_id=1, dtype=dtype).state_dict()
    monkeypatch.setattr(opening, "open_shards", partial(open_shards, limits=replace(LIMITS, copied_bytes=0)))
    mapped = load_backbone(folder, image_token_id=1, dtype=dtype).state_dict()
    assert copied.keys() == mapped.keys()
    assert all(torch.equal(copied[name], mapped[name]) for name in copied)
    weights = load_file(folder / "model.safetensors")
    name = "language_model.model.layers.1.attention.wqkv.weight"
    weights[name][-1, -1] = float("inf")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=rf"model.safetensors.*{name}' holds NaN or infinity"):
        load_backbone(folder, image_token_id=1, dtype=dtype)


EYES = {
    "bias and norms of query and key": {"qkv_bias": True, "qk_normalization": True, "norm_type": "rms_norm"},
    "layer norm without a bias": {"qkv_bias": False, "norm_type": "layer_norm", "qk_normalization": True},
    "another epsilon": {"qk_normalization": True, "layer_norm_eps": 0.01, "norm_type": "rms_norm"},
    "larger patches": {"patch_size": 28, "image_size": 112},
    "an edge that no patch fills": {"image_size": 59},
}


@pytest.mark.parametrize("name", EYES)
@pytest.mark.parametrize("layer", [-1, -3, 1])
@torch.inference_mode()
def test_any_eye(shared: Path, tmp_path: Path, name: str, layer: int) -> None:
    config = configuration(shared, "8b")
    config["vision_config"] |= EYES[name]
    config |= {"select_layer": layer, "force_image_size": config["vision_config"]["image_size"]}
    folder = make_official(tmp_path / "m", config, tmp_path, seed=3)
    model = load_backbone(folder, image_token_id=1, dtype=torch.float32)
    side = config["force_image_size"]
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    wanted = eye(part(folder, "vision_model."), config["vision_config"], pixels, layer)
    seen = model.model.vision_tower(pixels, output_hidden_states=True)
    found = seen.last_hidden_state if layer == -1 else seen.hidden_states[layer]
    assert float((found - wanted).abs().max()) < CLOSE
    shown = model.get_image_features(pixels).pooler_output
    assert shown.shape == (2, (side // config["vision_config"]["patch_size"] // 2) ** 2, 64)


@pytest.mark.parametrize(("ratio", "tile", "tokens"), [(0.25, 112, 4), (1.0, 56, 16), (0.5, 168, 36)])
@torch.inference_mode()
def test_other_ratios_and_tiles(shared: Path, tmp_path: Path, ratio: float, tile: int, tokens: int) -> None:
    """A tile that is larger than the eye was made for is seen through interpolated positions."""
    config = {**configuration(shared, "1b"), "downsample_ratio": ratio, "force_image_size": tile}
    model = load_backbone(make_official(tmp_path / "m", config, tmp_path), image_token_id=345, dtype=torch.float32)
    seen = model.get_image_features(torch.zeros(3, 3, tile, tile)).pooler_output
    assert seen.shape == (3, tokens, 48)
    assert model.config.image_seq_length == tokens
