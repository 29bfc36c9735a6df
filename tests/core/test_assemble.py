"""A backbone that is built blank and filled is, to the last bit, the one that was built with values and filled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from chiasm.assemble import assemble
from chiasm.routing.guided import hear_prefix, speak_guided
from chiasm.routing.network import Network
from chiasm.routing.sequence import Markers
from chiasm.weights import core_tensors, fill_core, start_tasks
from chiasm_registry import CoreInfo, Decoder, Output, Route, Scene, Task, TaskSpec, TaskTable
from torch import nn


class Tone(Output):
    pitch: float


class ToneDecoder(nn.Linear):
    def decode(self, scene: Scene, routes: Sequence[Route]) -> Sequence[Tone]:
        return [Tone(pitch=0.0) for _ in routes]


class ToneTask(Task):
    spec = TaskSpec(name="tone", token="[TONE]", embeddings=2, output=Tone, summary="how it sounds")

    def decoder(self, core: CoreInfo) -> Decoder:
        return ToneDecoder(core.width, 1)


TASKS = {"tone": ToneTask()}


def config(trunk: bool) -> dict[str, Any]:
    vision = {"image_size": 64, "patch_size": 16, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"model_type": "qwen2", "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "intermediate_size": 24}
    text |= {"num_attention_heads": 2, "num_key_value_heads": 2, "tie_word_embeddings": True, "rope_theta": 10000.0}
    whole = {"vision_config": {**vision, "intermediate_size": 24}, "text_config": text, "tie_word_embeddings": True}
    return {"design": "internvl", "trunk": trunk, "max_tiles": 1, "internvl": {**whole, "image_token_id": 3}}


def network(trunk: bool, *, blank: bool) -> Network:
    made = assemble(config(trunk), TaskTable.build(list(TASKS.values())), TASKS, blank=blank).eval()
    return made.requires_grad_(False)


def filled_like(model: Network, trunk: bool, *, blank: bool) -> Network:
    torch.manual_seed(1)
    again = network(trunk, blank=blank)
    fill_core(again, core_tensors(model, torch.float32))
    start_tasks(again, ["tone"])
    return again


@pytest.mark.parametrize("trunk", [False, True])
def test_blank_and_filled_speaks_as_ordinary_and_filled(trunk: bool) -> None:
    model = network(trunk, blank=False)
    ordinary, blank = (filled_like(model, trunk, blank=blank) for blank in (False, True))
    for kind in ("named_parameters", "named_buffers"):  # rotary frequencies are buffers that no file holds
        for (name, one), (_, other) in zip(
            getattr(ordinary.backbone_module, kind)(), getattr(blank.backbone_module, kind)(), strict=True
        ):
            assert torch.equal(one, other), name
    tile = torch.rand(1, 3, 64, 64)
    markers = Markers(ref=0, unref=1, end=2, image=3)
    spoken = []
    for each in (ordinary, blank):
        seen = each.backbone.see(tile)
        places = [3] * len(seen.tokens[0])
        prefix = hear_prefix(each, markers, [4, *places, 5], seen.tokens[0])
        spoken.append(speak_guided(each, markers, prefix, [[6], [7, 8]], ["tone"], at_once=9))
    for one, other in zip(*spoken, strict=True):
        assert torch.equal(one["tone"], other["tone"])


def test_a_blank_backbone_draws_no_random_number() -> None:
    tasks: dict[str, Task] = {}
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assemble(config(True), TaskTable.build([]), tasks, blank=True)
    assert torch.equal(torch.get_rng_state(), before)
    assemble(config(True), TaskTable.build([]), tasks)
    assert not torch.equal(torch.get_rng_state(), before)
