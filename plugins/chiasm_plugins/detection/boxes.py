"""Arithmetic on boxes as tensors: xyxy in pixels, overlaps, suppression. No compiled operators."""

from __future__ import annotations

import torch
from torch import Tensor


def area(boxes: Tensor) -> Tensor:
    """(..., 4) to (...)."""
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """(..., N, 4) and (..., M, 4) to (..., N, M)."""
    low = torch.maximum(a[..., :, None, :2], b[..., None, :, :2])
    high = torch.minimum(a[..., :, None, 2:], b[..., None, :, 2:])
    overlap = (high - low).clamp(min=0).prod(-1)
    return overlap / (area(a)[..., :, None] + area(b)[..., None, :] - overlap).clamp(min=1e-9)


def generalized_iou(a: Tensor, b: Tensor) -> Tensor:
    """Element-wise GIoU (Rezatofighi et al. 2019) of (..., 4) boxes, in -1..1."""
    overlap = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    union = (area(a) + area(b) - overlap).clamp(min=1e-9)
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    return overlap / union - (hull - union) / hull.clamp(min=1e-9)


def suppress(boxes: Tensor, overlap: float) -> Tensor:
    """Greedy non-maximum suppression of many lists at once: (R, n, 4), best first, to the (R, n) that stay.

    The greedy rule «stay unless a better one that stays overlaps you» has one fixed point; it is reached by repeating
    the rule on all boxes together, in as many rounds as the longest chain of suppressions.
    """
    better = pairwise_iou(boxes, boxes).gt(overlap).triu(1)  # (R, i, j): i is better than j and overlaps it
    stay = torch.ones(boxes.shape[:2], dtype=torch.bool, device=boxes.device)
    while True:
        again = ~(better & stay[:, :, None]).any(1)
        if torch.equal(again, stay):
            return stay
        stay = again
