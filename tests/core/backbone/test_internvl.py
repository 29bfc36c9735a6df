"""InternVL by its protocol: what core gets in parts is what transformers' own model computes as a whole."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from chiasm.backbone.internvl import InternVL, build_internvl
from chiasm.backbone.language import longest_text
from chiasm.routing.sequence import branch_mask, branch_positions
from chiasm_registry import CheckpointError, MapInfo
from core.tiny import WIDTH, description, tokenizer
from transformers import LlamaConfig, MistralConfig, Phi3Config, Qwen2Config


def core(**described: Any) -> InternVL:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = build_internvl(description(**described))
        for name, parameter in made.named_parameters():
            if ".trunk." not in name and parameter.ndim > 1:
                torch.nn.init.normal_(parameter, 0.0, 0.2)
    return made.eval().requires_grad_(False)


def tiles(backbone: InternVL, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, backbone.tile, backbone.tile, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("trunk", [False, True])
def test_seeing_in_parts_is_transformers_own_seeing(trunk: bool) -> None:
    """Image tokens are those of `get_image_features`, behind a trunk too, where the tags come on top."""
    backbone = core(trunk=trunk)
    pixels = tiles(backbone)
    whole = backbone.internvl.model.get_image_features(pixel_values=pixels)
    whole = getattr(whole, "pooler_output", whole)
    seen = backbone.see(pixels)
    assert seen.tokens.shape == (2, backbone.tokens_per_tile, WIDTH)
    whole = whole.reshape(seen.tokens.shape)
    if trunk:
        patches = backbone.internvl.model.vision_tower.embeddings.patch_embeddings
        whole = whole + patches.tags(patches.features(patches.trunk(pixels)), math.isqrt(backbone.tokens_per_tile))
    torch.testing.assert_close(seen.tokens, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("trunk", [False, True])
def test_maps_are_what_the_core_announces(trunk: bool) -> None:
    backbone = core(trunk=trunk)
    seen = backbone.see(tiles(backbone))
    shapes = [
        (info.channels, backbone.tile // info.stride, backbone.tile // info.stride) for info in backbone.info.maps
    ]
    assert [tuple(m.shape[1:]) for m in seen.maps] == shapes
    assert backbone.info.width == WIDTH
    assert backbone.positions == 8192


def test_a_plain_cores_map_is_its_grid() -> None:
    """The map holds the patches row by row, the class token left out."""
    backbone = core()
    assert backbone.info.maps == (MapInfo(WIDTH, 14),)
    pixels = tiles(backbone, 1)
    hidden = backbone.internvl.model.vision_tower(pixel_values=pixels).last_hidden_state[0, 1:]
    (grid,) = backbone.see(pixels).maps
    torch.testing.assert_close(grid[0, :, 1, 2], hidden[1 * 4 + 2])


def test_tiles_are_seen_independently() -> None:
    for trunk in (False, True):
        backbone = core(trunk=trunk)
        pixels = tiles(backbone, 3)
        together, alone = backbone.see(pixels), backbone.see(pixels[1:2])
        torch.testing.assert_close(together.tokens[1:2], alone.tokens, atol=1e-5, rtol=0)
        for level, single in zip(together.maps, alone.maps, strict=True):
            torch.testing.assert_close(level[1:2], single, atol=1e-5, rtol=0)


def test_the_parts_together_are_the_whole_model() -> None:
    """see, embed, speak and head give the logits of `InternVLForConditionalGeneration.forward`."""
    backbone, image = core(), tokenizer().id_of("<IMG_CONTEXT>")
    pixels = tiles(backbone, 1)
    ids = torch.tensor([[30, 31, *[image] * 4, 32, 33, 34]])
    whole = backbone.internvl(input_ids=ids, pixel_values=pixels, attention_mask=torch.ones_like(ids)).logits
    embeds = backbone.embed(ids)
    embeds[ids == image] = backbone.see(pixels).tokens[0]
    positions = torch.arange(ids.shape[1])[None]
    hidden = backbone.speak(embeds, None, positions, None)
    torch.testing.assert_close(backbone.head(hidden), whole, atol=1e-4, rtol=0)
    one_branch = torch.zeros_like(ids)
    masked = backbone.speak(embeds, branch_mask(one_branch), branch_positions(one_branch), None)
    torch.testing.assert_close(masked, hidden, atol=1e-4, rtol=0)


def test_the_matrices_are_those_that_embed_and_judge() -> None:
    for tied in (True, False):
        backbone = core(tied=tied)
        embedding, head = backbone.matrices()
        hidden = torch.randn(1, WIDTH)
        assert torch.equal(backbone.embed(torch.tensor([[7]]))[0, 0], embedding[7])
        torch.testing.assert_close(backbone.head(hidden), hidden @ head.T, atol=1e-4, rtol=0)
        assert torch.equal(embedding, head) is tied


def test_the_maps_depend_on_the_trunks_parameters() -> None:
    """And on no others: the projection to patches may learn while the maps stay."""
    for trunk in (False, True):
        backbone = core(trunk=trunk)
        own = list(backbone.trunk_parameters())
        assert {id(p) for p in own} < {id(p) for p in backbone.parameters()}
        for parameter in own:
            parameter.requires_grad_(True)
        assert all(m.requires_grad for m in backbone.see(tiles(backbone, 1)).maps)


def test_no_such_model_is_refused_in_one_line() -> None:
    language = {**description()["internvl"], "text_config": {"model_type": "qwen2", "hidden_size": -1}}
    for wrong in ({}, {"internvl": language}, {"internvl": "tiny"}):
        with pytest.raises(CheckpointError) as caught:
            build_internvl(wrong)
        assert len(str(caught.value)) <= 200
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("layer", [2, 99, -3, [1, 2], [-1], "x", True, 0.5])
def test_a_layer_that_the_eye_has_not_got_is_refused(layer: Any) -> None:
    described = description()
    described["internvl"] = {**described["internvl"], "vision_feature_layer": layer}
    with pytest.raises(CheckpointError) as caught:
        build_internvl(described)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "longest"),
    [
        (Qwen2Config(max_position_embeddings=64, sliding_window=16), 64),  # not in use
        (Qwen2Config(max_position_embeddings=64, sliding_window=16, use_sliding_window=True, max_window_layers=0), 16),
        (Qwen2Config(max_position_embeddings=64, sliding_window=128, use_sliding_window=True, max_window_layers=0), 64),
        (Phi3Config(max_position_embeddings=64, sliding_window=16, pad_token_id=0), 16),
        (MistralConfig(max_position_embeddings=64, sliding_window=None), 64),
        (LlamaConfig(max_position_embeddings=64), 64),
    ],
)
def test_no_text_is_longer_than_a_window_that_slides(text: Any, longest: int) -> None:
    """Further back a pass with a mask would see what one without does not."""
    assert longest_text(text) == longest
