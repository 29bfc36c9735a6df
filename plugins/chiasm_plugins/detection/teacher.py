"""The frozen initial head with its fixed classes: what distillation learns from. It exists in training only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from chiasm_registry import TrainingError
from chiasm_registry.coco import COCO_NAMES
from torch import Tensor, nn

from .pyramid import LEVELS, WIDTH, Separable

CLASS_OF = {name: k for k, name in enumerate(COCO_NAMES)}


class Taught(NamedTuple):
    """What the teacher holds to be true of B images."""

    scores: Tensor  # (B, classes, L) probabilities
    distances: Tensor  # (B, L, 4 * BINS) logits


class Teacher(nn.Module):
    """NanoDet-Plus's head as published (keys `cls_convs.*`, `gfl_cls.*`), frozen."""

    def __init__(self, weights: Mapping[str, Tensor], strides: Sequence[int], distances: int) -> None:
        """`distances` is the number of logits of a location's four edges; other shapes are a `TrainingError`."""
        super().__init__()
        self.classes = len(CLASS_OF)
        self.strides = tuple(strides)
        self.towers = nn.ModuleList(nn.Sequential(Separable(WIDTH), Separable(WIDTH)) for _ in range(LEVELS))
        self.heads = nn.ModuleList(nn.Conv2d(WIDTH, self.classes + distances, 1) for _ in range(LEVELS))
        try:
            self.towers.load_state_dict(_part(weights, "cls_convs."))
            self.heads.load_state_dict(_part(weights, "gfl_cls."))
        except RuntimeError as error:
            raise TrainingError("the initial weights hold no head of NanoDet-Plus-m; names or shapes differ") from error
        self.requires_grad_(False)

    def copy_to(self, towers: nn.ModuleList, edges: nn.ModuleList) -> None:
        """Give a student the same towers and the same box edges."""
        towers.load_state_dict(self.towers.state_dict())
        for edge, head in zip(edges, self.heads, strict=True):
            edge.load_state_dict({name: tensor[self.classes :] for name, tensor in head.state_dict().items()})

    @torch.no_grad()
    def seed(self, prototypes: Tensor) -> None:
        """Make the first of a student's prototypes the classes: (P, LEVELS * (WIDTH + 1)), weights and bias by level.

        So the slots have to learn which class a phrase means, and not the class's vectors.
        """
        by_level = prototypes.view(-1, LEVELS, WIDTH + 1)
        for level, head in enumerate(cast("Sequence[nn.Conv2d]", self.heads)):
            assert head.bias is not None
            by_level[: self.classes, level, :-1] = head.weight[: self.classes].flatten(1)
            by_level[: self.classes, level, -1] = head.bias[: self.classes]

    @torch.no_grad()
    def forward(self, pyramid: Sequence[Tensor]) -> Taught:
        """Pyramid levels (B, C, h, w), fine to coarse."""
        outputs = [
            head(tower(level)).flatten(2) for head, tower, level in zip(self.heads, self.towers, pyramid, strict=True)
        ]
        both = torch.cat(outputs, 2)
        return Taught(both[:, : self.classes].float().sigmoid(), both[:, self.classes :].transpose(1, 2))


def _part(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
