"""The network's own modules on tensors: what guided detection costs without chiasm around it.

No opening of images, no text, no checks, no dispatch, no results, no suppression: see, speak the prefix, speak all
branches in one pass, locate, judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import chiasm
import torch
from chiasm.images import tile_pixels
from chiasm.routing.sequence import branch_ids, branch_mask, branch_positions
from chiasm.text import build_prompt
from PIL import Image
from torch import Tensor
from transformers import DynamicCache

TASK = "detection"


class Bare:
    """Everything that does not need the network is made once, here; a call is the network alone."""

    def __init__(self, model: chiasm.Model, picture: Image.Image, names: Sequence[str]) -> None:
        self.network, self.image_id = model.network, model.markers.image
        backbone, parameter = model.network.backbone, next(model.network.parameters())
        self.tiles = tile_pixels(picture, max_tiles=backbone.max_tiles, tile=backbone.tile).to(parameter)
        count = len(self.tiles) * backbone.tokens_per_tile
        prefix = build_prompt(model.tokenizer, model.template, [(model.instruction, None)], [count]).ids
        self.prefix = torch.tensor([prefix], device=parameter.device)
        phrases = [model.tokenizer.encode_user(name) for name in names]
        branches = [branch_ids(phrase, [TASK], model.network.rows, model.markers) for phrase in phrases]
        self.ids = torch.tensor([[i for branch in branches for i in branch]], device=parameter.device)
        number = torch.tensor([[k for k, branch in enumerate(branches, 1) for _ in branch]], device=parameter.device)
        self.positions = torch.arange(len(prefix), device=parameter.device)[None]
        self.branch_positions = branch_positions(number, len(prefix))
        self.mask = branch_mask(number, torch.zeros_like(self.prefix), parameter.dtype)

    @torch.inference_mode()
    def __call__(self) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (L, 4) in pixels of the view, score logits (names, L) and presence logits (names,) of all locations."""
        network, cache = self.network, DynamicCache()
        seen = network.backbone.see(self.tiles)
        prefix = network.embed(self.prefix, self.image_id, seen.tokens.flatten(0, 1))
        network.backbone.speak(prefix, None, self.positions, cache)
        branches = network.embed(self.ids, self.image_id)
        hidden = network.backbone.speak(branches, self.mask, self.branch_positions, cache)
        slots = network.slots(self.ids, hidden, TASK)
        head: Any = network.decoders[TASK]
        located = head.locate([level[-1:] for level in seen.maps])  # the last tile shows the whole
        logits, presence, *_ = head.judge(located, slots[None])
        return located.boxes[0], logits[0], presence[0]
