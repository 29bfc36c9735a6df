"""What a phrase should have found in a training image, as tensors, and which locations are to learn which box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from chiasm_registry import Sample
from torch import Tensor

from .boxes import pairwise_iou


@dataclass(frozen=True, eq=False)
class BoxTarget:
    """A phrase's truth: boxes (n, 4), groups to ignore (m, 4), xyxy pixels of the sample; the names it stands for.

    `rivals` (k, 4) are boxes of what has such a name and is not meant: the other dogs beside «the left dog». A phrase
    that is `singled` means one thing by its words, with rivals or without: «the red bus».
    """

    boxes: Tensor
    ignored: Tensor
    meaning: tuple[str, ...]
    rivals: Tensor = field(default_factory=lambda: torch.zeros(0, 4))
    singled: bool = False


def box_targets(sample: Sample) -> Sequence[BoxTarget]:
    """A target for each of the sample's phrases."""
    told = sample.singled or [False] * len(sample.phrases)
    return [
        BoxTarget(
            _boxes(sample, matches, crowd=False),
            _boxes(sample, matches, crowd=True),
            meaning,
            _boxes(sample, _rivals(sample, matches, meaning), crowd=False),
            singled,
        )
        for matches, meaning, singled in zip(sample.matches, sample.meanings, told, strict=True)
    ]


def _rivals(sample: Sample, matches: Sequence[int], meaning: Sequence[str]) -> list[int]:
    return [k for k, thing in enumerate(sample.objects) if thing.name in meaning and k not in matches]


def _boxes(sample: Sample, matches: Sequence[int], *, crowd: bool) -> Tensor:
    rows = [sample.objects[k].box_xyxy for k in matches if sample.objects[k].crowd == crowd]
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


@dataclass(frozen=True, eq=False)
class Truth:
    """The true boxes of a batch, padded to the longest list."""

    boxes: Tensor  # (B, G, 4) pixels of the view
    phrase: Tensor  # (B, G) index of the phrase a box belongs to
    valid: Tensor  # (B, G) False where padding
    meant: Tensor  # (B, G) False where padding, and for a rival of what the phrase means

    def to(self, device: torch.device) -> Truth:
        """The same on another device."""
        return Truth(**{name: value.to(device) for name, value in vars(self).items()})


@dataclass(frozen=True, eq=False)
class Assignment:
    """Which locations learn what."""

    quality: Tensor  # (B, R, L) target score of a phrase at a location, 0 where negative
    box: Tensor  # (B, L, 4) the true box that a location regresses
    weight: Tensor  # (B, L) quality of that box there, 0 where none


@torch.no_grad()
def assign(scores: Tensor, boxes: Tensor, centres: Tensor, truth: Truth, top: int = 13) -> Assignment:
    """Task-aligned assignment (Feng et al., TOOD, 2021).

    `scores` (B, R, L) probabilities, `boxes` (B, L, 4) predicted, `centres` (L, 2), in pixels of the view. A true box
    takes the `top` locations inside it with the largest score * IoU^6; a location claimed by several boxes of one
    phrase goes to the one it overlaps most; its target is scaled so that the best location of a box learns its IoU.
    """
    where = truth.phrase[:, :, None].expand(-1, -1, scores.shape[2])  # (B, G, L)
    iou = pairwise_iou(truth.boxes, boxes)
    low, high = truth.boxes[:, :, None, :2], truth.boxes[:, :, None, 2:]
    inside = ((centres > low) & (centres < high)).all(-1) & truth.valid[:, :, None]
    aligned = torch.where(inside, scores.gather(1, where).clamp(min=1e-6) * iou.pow(6), -1.0)
    best = aligned.topk(min(top, aligned.shape[2]), 2)
    chosen = torch.zeros_like(inside).scatter_(2, best.indices, best.values > 0)
    rivals = torch.where(chosen, iou, -1.0)
    strongest = torch.full_like(scores, -1.0).scatter_reduce_(1, where, rivals, "amax").gather(1, where)
    chosen &= rivals >= strongest
    aligned = aligned.clamp(min=0) * chosen
    quality = aligned * (iou * chosen).amax(2, keepdim=True) / aligned.amax(2, keepdim=True).clamp(min=1e-9)
    weight, owner = quality.max(1)  # (B, L)
    return Assignment(
        quality=torch.zeros_like(scores).scatter_reduce_(1, where, quality, "amax"),
        box=truth.boxes.gather(1, owner[..., None].expand(-1, -1, 4)),
        weight=weight,
    )
