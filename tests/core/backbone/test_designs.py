"""Every design alike: finding and asking, alone and in company, and the numbers of transformers' own forward pass."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import numpy as np
import pytest
import torch
from chiasm.assemble import build_backbone
from chiasm.backbone.designs import DESIGNS as KNOWN
from chiasm.backbone.eye import as_clip, normalised
from chiasm.images import open_image
from chiasm.model import Model
from chiasm.routing.guided import hear_prefix, speak_guided
from chiasm.routing.sequence import branch_ids, prompt_positions
from chiasm.scene import look_at
from chiasm_registry import CheckpointError
from core.designs import CLIP, DESIGNS, design_model
from core.test_model import same
from core.tiny import NAMES, picture, talkative
from PIL import Image
from torch import Tensor
from transformers import DynamicCache

SHORT: dict[str, Any] = {"max_new_tokens": 24, "threshold": 0}
SAMPLED: dict[str, Any] = {"do_sample": True, "seed": 5, **SHORT}
SIZES = [(90, 60), (200, 30), (33, 171), (28, 28), (1, 1)]


@cache
def made(name: str) -> Model:
    return talkative(design_model(name))


@pytest.fixture(params=DESIGNS)
def model(request: pytest.FixtureRequest) -> Model:
    return made(request.param)


def test_every_design_is_tried() -> None:
    assert {described["design"] for described in DESIGNS.values()} == set(KNOWN)


# No case is special.


def test_names_are_found_and_routed(model: Model) -> None:
    """One output a phrase and task, in order, from what the picture shows."""
    result = model.run(("level", "detection"), picture(), NAMES, threshold=0)
    for given in result.outputs.values():
        assert tuple(output.phrase for output in given) == NAMES
    assert [thing.label for thing in result.objects] == list(NAMES)
    other = model.run("level", picture(seed=3), NAMES)
    assert {o.slots for o in other.outputs["level"]}.isdisjoint(o.slots for o in result.outputs["level"])


def test_a_phrase_is_judged_alike_in_any_company(model: Model) -> None:
    among = model.detect(picture(), NAMES, threshold=0).objects
    backwards = model.detect(picture(), NAMES[::-1], threshold=0).objects[::-1]
    for k, name in enumerate(NAMES):
        (alone,) = model.detect(picture(), [name], threshold=0).objects
        for other in (alone, backwards[k]):
            assert other.label == among[k].label
            assert other.score == pytest.approx(among[k].score, abs=1e-4)
            assert other.box is not None
            assert other.box.xyxy == pytest.approx(among[k].box.xyxy, abs=0.05)


@torch.inference_mode()
def test_a_guided_phrase_has_the_slots_of_one_full_pass(model: Model) -> None:
    """The prefix with the picture, the phrase, the task's token and slots, run at once without a cache."""
    (look,) = look_at(model.network, [open_image(picture(90, 60))])
    network, m = model.network, model.markers
    prefix = model._prompt(model.instruction, [look])
    words = model.tokenizer.encode_user("a dog")
    heard = hear_prefix(network, m, prefix, look.tokens, [look.places])
    (spoken,) = speak_guided(network, m, heard, [words], ["level", "echo"], at_once=9)
    ids = [*prefix, *branch_ids(words, ["level", "echo"], network.rows, m)]
    positions, _ = prompt_positions(ids, m.image, [look.places])
    embeds = network.embed(torch.tensor([ids]), m.image, look.tokens)
    hidden = network.backbone.speak(embeds, None, positions if len(positions) == 1 else positions[:, None], None)[0]
    for task in ("level", "echo"):
        places = [ids.index(slot) for slot in network.rows.slot_ids(task)]
        torch.testing.assert_close(spoken[task], hidden[places], atol=1e-4, rtol=0)


def test_what_is_said_is_routed(model: Model) -> None:
    heard = 0
    for seed in range(6):
        result = model.ask(picture(90, 40), "Find the dog", **(SAMPLED | {"seed": seed}))
        assert all(result.text[slice(*thing.span)] == thing.label for thing in result.objects)
        heard += sum(len(given) for given in result.outputs.values())
    assert heard > 3


@pytest.mark.parametrize("settings", [SHORT, SAMPLED], ids=["greedy", "sampled"])
def test_a_batch_equals_single_calls(model: Model, settings: dict[str, Any]) -> None:
    """Pictures of every shape, two at once, none at all; found and asked."""
    images: list[Any] = [picture(*size, seed=k) for k, size in enumerate(SIZES)]
    for one, together in zip(images, model.detect(images, NAMES, threshold=0), strict=True):
        same(together, model.detect(one, NAMES, threshold=0))
    images += [(images[1], images[0]), None]
    prompts = ["Find the dog.", "What is in the picture?", "Hi", "Where is the red bus? " * 3, "?", "Both", "Hi"]
    results = model.ask(images, prompts, **settings)
    for image, prompt, result in zip(images, prompts, results, strict=True):
        same(result, model.ask(image, prompt, **settings))


@torch.inference_mode()
def test_slots_and_kept_caches_are_those_of_one_full_pass(model: Model) -> None:
    """A conversation of three turns with three pictures: every key and value to 1e-4, positions counted alike."""
    turns: list[tuple[str, Any]] = [
        ("Find the dog.", picture(90, 60, 1)),
        ("And?", None),
        ("These?", (picture(200, 30, 2), picture(60, 90, 3))),
    ]
    session = model.chat()
    for text, image in turns:
        session.ask(text, image, **SAMPLED)
    images = [one for _, image in turns if image for one in (image if isinstance(image, tuple) else [image])]
    looks = look_at(model.network, [open_image(one) for one in images])
    kept, network = session._threads[0].memory, model.network
    positions, behind = prompt_positions(kept.ids, model.markers.image, [look.places for look in looks])
    assert behind == kept.position
    embeds = network.embed(torch.tensor([kept.ids]), model.markers.image, torch.cat([look.tokens for look in looks]))
    whole = DynamicCache()
    network.backbone.speak(embeds, None, positions if len(positions) == 1 else positions[:, None], whole)
    for mine, theirs in zip(kept.cache.layers, whole.layers, strict=True):
        torch.testing.assert_close(mine.keys, theirs.keys, atol=1e-4, rtol=0)
        torch.testing.assert_close(mine.values, theirs.values, atol=1e-4, rtol=0)


def test_two_sessions_and_a_batch_of_them_equal_single_ones(model: Model) -> None:
    talks: list[list[tuple[str, Any]]] = [
        [("Find the dog.", picture(60, 40, 1)), ("And the cat?", picture(33, 90, 2))],
        [("Hi", None), ("Where is the red bus? " * 3, picture(200, 30, 3))],
    ]
    alone = []
    for turns in talks:
        session = model.chat()
        alone.append([session.ask(*turn, **SAMPLED) for turn in turns])
    first, second, batch = model.chat(), model.chat(), model.chat()
    for k in range(2):
        same(first.ask(*talks[0][k], **SAMPLED), alone[0][k])
        same(second.ask(*talks[1][k], **SAMPLED), alone[1][k])
        both = batch.ask([turns[k][0] for turns in talks], [turns[k][1] for turns in talks], **SAMPLED)
        for mine, theirs in zip(both, alone, strict=True):
            same(mine, theirs[k])


@pytest.mark.parametrize("name", DESIGNS)
def test_half_precision_finds_asks_and_streams(name: str) -> None:
    """As on an accelerator: every parameter in bfloat16, buffers as they are."""
    half = talkative(design_model(name))
    for parameter in half.network.parameters():
        parameter.data = parameter.data.to(torch.bfloat16)
    assert len(half.detect(picture(90, 60), NAMES, threshold=0).objects) == len(NAMES)
    session = half.chat()
    stream = session.ask("Find the dog.", picture(200, 30), **SAMPLED, stream=True)
    assert "".join(event for event in stream if isinstance(event, str)) == stream.result.text
    assert session.ask("And?", **SAMPLED).size_hw == (30, 200)


def test_a_scene_shows_the_whole_image_on_the_maps_that_were_promised(model: Model) -> None:
    """Whatever the image's shape, maps have the channels and the side that decoders were built for."""
    backbone = model.network.backbone
    looks = look_at(model.network, [open_image(picture(*size)) for size in SIZES])
    for look in looks:
        for grid, info in zip(look.scene.maps, backbone.info.maps, strict=True):
            assert grid.shape == (info.channels, backbone.tile // info.stride, backbone.tile // info.stride)
    left, right = picture(60, 40, 1), picture(60, 40, 1)
    right.paste((255, 255, 255), (45, 0, 60, 40))
    (first,), (second,) = (look_at(model.network, [open_image(one)]) for one in (left, right))
    assert not torch.equal(first.scene.maps[-1], second.scene.maps[-1])


def test_plain_views_have_as_many_tokens_as_is_said(model: Model) -> None:
    backbone = model.network.backbone
    tiles = torch.randn(2, 3, backbone.tile, backbone.tile, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        together, alone = backbone.see(tiles), backbone.see(tiles[1:])
    assert together.tokens.shape == (2, backbone.tokens_per_tile, backbone.info.width)
    torch.testing.assert_close(together.tokens[1:], alone.tokens, atol=1e-4, rtol=0)
    for grid, info in zip(together.maps, backbone.info.maps, strict=True):
        assert grid.shape == (2, info.channels, backbone.tile // info.stride, backbone.tile // info.stride)


# The numbers are transformers' own: what its forward pass is given for an image, by its class.


def _own(model: Model, image: Image.Image) -> tuple[Any, dict[str, Any], int]:
    backbone: Any = model.network.backbone
    cut = backbone.cut(image)
    network = next(child for name, child in backbone.named_children())
    count = len(backbone.look([cut])[0].tokens)
    given: dict[str, Callable[[], dict[str, Any]]] = {
        "InternVLForConditionalGeneration": lambda: {"pixel_values": cut.pixels},
        "LlavaForConditionalGeneration": lambda: {"pixel_values": as_clip(cut.pixels)},
        "LlavaNextForConditionalGeneration": lambda: {
            "pixel_values": as_clip(cut.pixels)[None],
            "image_sizes": torch.tensor([cut.size_hw]),
        },
        "Blip2ForConditionalGeneration": lambda: {"pixel_values": as_clip(cut.pixels)},
        "Qwen2VLForConditionalGeneration": lambda: {
            "pixel_values": cut.pixels,
            "image_grid_thw": torch.tensor([[1, *cut.grid]]),
        },
    }
    kind = next(cls.__name__ for cls in type(network).__mro__ if cls.__name__ in given)
    return network, given[kind](), count


@torch.inference_mode()
@pytest.mark.parametrize("size", SIZES[:3])
def test_logits_are_those_of_transformers(model: Model, size: tuple[int, int]) -> None:
    image = picture(*size)
    network, given, count = _own(model, image)
    ids = torch.tensor([[40, 41, *[model.markers.image] * count, 42, 43]])
    if "image_grid_thw" in given:
        given["mm_token_type_ids"] = (ids == model.markers.image).int()
    theirs = network(input_ids=ids, attention_mask=torch.ones_like(ids), **given).logits
    backbone = model.network.backbone
    (sight,) = backbone.look([backbone.cut(image)])
    embeds = model.network.embed(ids, model.markers.image, sight.tokens)
    positions, _ = prompt_positions(ids[0].tolist(), model.markers.image, [sight.places])
    hidden = backbone.speak(embeds, None, positions if len(positions) == 1 else positions[:, None], None)
    torch.testing.assert_close(backbone.head(hidden), theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", SIZES[:4])
@pytest.mark.parametrize("kind", ["llava_next", "qwen2_vl"])
def test_images_are_cut_as_transformers_cuts_them(kind: str, size: tuple[int, int]) -> None:
    """By its processor without torchvision; both round to whole grey levels when they resize."""
    image, backbone = picture(*size), cast(Any, made({"llava_next": "LLaVA-NeXT", "qwen2_vl": "Qwen2-VL"}[kind]))
    backbone = backbone.network.backbone
    home = importlib.import_module(f"transformers.models.{kind}.image_processing_pil_{kind}")
    if kind == "llava_next":
        options = {"size": {"height": 56, "width": 56}, "crop_size": {"height": 56, "width": 56}}
        points = [list(pair) for pair in backbone.resolutions]
        theirs = home.LlavaNextImageProcessorPil(**options, image_grid_pinpoints=points)(image, return_tensors="np")
        mine: Tensor = as_clip(backbone.cut(image).pixels)[None]
    else:
        size_of = {"shortest_edge": backbone.pixels[0], "longest_edge": backbone.pixels[1]}
        theirs = home.Qwen2VLImageProcessorPil(size=size_of)(image, return_tensors="np")
        assert theirs["image_grid_thw"].tolist() == [[1, *backbone.cut(image).grid]]
        mine = backbone.cut(image).pixels
    np.testing.assert_allclose(mine.numpy(), theirs["pixel_values"], atol=2e-5, rtol=0)


def test_pixels_change_their_scale_and_nothing_else() -> None:
    from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

    image = picture(9, 7)
    raw = torch.from_numpy(np.asarray(image, np.float32).transpose(2, 0, 1) / 255)
    wanted = (raw - torch.tensor(OPENAI_CLIP_MEAN)[:, None, None]) / torch.tensor(OPENAI_CLIP_STD)[:, None, None]
    torch.testing.assert_close(as_clip(normalised(image)), wanted, atol=1e-6, rtol=0)


def changed(name: str, **parts: Any) -> dict[str, Any]:
    """A description with other values in transformers' part of it."""
    described = DESIGNS[name]
    key = described["design"]
    return {**described, key: {**described[key], **parts}}


WRONG: dict[str, dict[str, Any]] = {
    "no such design": {"design": "llava_uhd"},
    "no description": {"design": "llava"},
    "a connector of its own": {**DESIGNS["LLaVA"], "connector": "eval"},
    "patches that do not fill": changed("LLaVA", vision_config={**CLIP, "patch_size": 13}),
    "a language model that encodes": changed("BLIP-2", text_config={"model_type": "t5"}),
    "pixels upside down": {**DESIGNS["Qwen2-VL"], "pixels": [100, 50]},
    "pixels of text": {**DESIGNS["Qwen2-VL"], "pixels": "all"},
    "a huge map": {**DESIGNS["Qwen2-VL"], "map_side": 10**6},
    "numbers of text": changed("Qwen2-VL", vision_config={"depth": "two"}),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_description_that_cannot_be_built_is_refused_in_one_line(case: str) -> None:
    with pytest.raises(CheckpointError, match=r"^config\.json") as caught:
        build_backbone(WRONG[case])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 200
