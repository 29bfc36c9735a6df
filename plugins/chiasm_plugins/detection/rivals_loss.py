"""What the comparison of a phrase's boxes learns: which of them is meant, and which of those fits best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from chiasm_registry import Scene
from torch import Tensor

from .boxes import pairwise_iou
from .targets import Truth

if TYPE_CHECKING:
    from .decoder import DetectionDecoder, Located

SAME = 0.5  # IoU from which a candidate is a true box
NEAR = 0.3  # IoU from which it is better than none
SHARP = 8.0  # exponent of the IoU: of boxes on one thing the tighter is to win
UNSURE = 0.8  # deviation of the noise on compared scores: they are surer of what was trained on than of others
KEEP = 0.2  # weight of leaving scores alone where nothing is to be told apart


def rivals_loss(
    head: DetectionDecoder,
    located: Located,
    scenes: Sequence[Scene],
    slots: Tensor,
    logits: Tensor,
    truth: Truth,
    counted: Tensor,
    singled: Tensor,
) -> Tensor:
    """Of a phrase's candidates, which are meant; where a phrase means all of its name, scores are to stay as they are.

    `logits` (B, R, L) of the locations; none of this reaches them, and only those that are `counted` (B, R, L) are
    compared. Of what a phrase that is `singled` (B, R) means, the rivals may be no things at all: boxes where the head
    is mistaken.
    """
    rows = logits.shape[1]
    candidates = head.candidates(located, logits)
    candidates = candidates._replace(logits=candidates.logits + UNSURE * torch.randn_like(candidates.logits))
    more = head.compare(located, scenes, slots, candidates)  # (B, R, n)
    boxes = located.boxes.detach()[:, None].expand(-1, rows, -1, -1)
    boxes = boxes.gather(2, candidates.locations[..., None].expand(-1, -1, -1, 4))  # (B, R, n, 4)
    own = truth.phrase[:, None] == torch.arange(rows, device=truth.phrase.device)[:, None]  # (B, R, G)
    overlap = pairwise_iou(boxes.flatten(1, 2), truth.boxes).reshape(*boxes.shape[:3], -1)  # (B, R, n, G)
    meant = (overlap * (own & truth.meant[:, None])[:, :, None]).amax(-1)
    rivals = own & truth.valid[:, None] & ~truth.meant[:, None]  # (B, R, G)
    other = (overlap * rivals[:, :, None]).amax(-1)
    contested = rivals.any(-1) | singled  # (B, R)
    there = candidates.there & counted.gather(2, candidates.locations)
    compared, right = candidates.logits + more, there & (meant >= other)
    judged = F.binary_cross_entropy_with_logits(compared, (right & (meant > SAME)).float(), reduction="none")
    chosen = there & contested[..., None]
    kept = there & ~contested[..., None]
    stays = KEEP * (more**2 * kept).sum() / kept.sum().clamp(min=1)
    best = best_loss(compared, right * meant * (meant > NEAR), chosen)
    return (judged * chosen).sum() / chosen.sum().clamp(min=1) + best + stays


def best_loss(logits: Tensor, overlap: Tensor, chosen: Tensor) -> Tensor:
    """Cross-entropy to the best box of each phrase; all (B, R, n), `overlap` the IoU with what is meant."""
    wanted = (overlap / overlap.amax(-1, keepdim=True).clamp(min=NEAR)).pow(SHARP) * (overlap > 0)
    total = wanted.sum(-1)
    counts = chosen.any(-1) & (total > 0)
    told = logits.masked_fill(~chosen, -1e4).log_softmax(-1)
    loss = -(wanted * told).sum(-1) / total.clamp(min=1e-6)
    return (loss * counts).sum() / counts.sum().clamp(min=1)
