"""Arithmetic on boxes as tensors: xyxy in pixels, overlaps, suppression. No compiled operators."""

from __future__ import annotations

import torch
from torch import Tensor

BLOCK = 32  # boxes of a list that are compared at a time


def area(boxes: Tensor) -> Tensor:
    """(..., 4) to (...)."""
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


@torch.no_grad()
def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """(..., N, 4) and (..., M, 4) to (..., N, M), without gradients; in few passes over what may be large."""
    ax0, ay0, ax1, ay1 = a[..., :, None, :].unbind(-1)  # (..., N, 1) each
    bx0, by0, bx1, by1 = b[..., None, :, :].unbind(-1)  # (..., 1, M) each
    overlap = torch.minimum(ax1, bx1).sub_(torch.maximum(ax0, bx0)).clamp_(min=0)
    overlap.mul_(torch.minimum(ay1, by1).sub_(torch.maximum(ay0, by0)).clamp_(min=0))
    union = (area(a)[..., :, None] + area(b)[..., None, :]).sub_(overlap).clamp_(min=1e-9)
    return overlap.div_(union)


def generalized_iou(a: Tensor, b: Tensor) -> Tensor:
    """Element-wise GIoU (Rezatofighi et al. 2019) of (..., 4) boxes, in -1..1."""
    overlap = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    union = (area(a) + area(b) - overlap).clamp(min=1e-9)
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    return overlap / union - (hull - union) / hull.clamp(min=1e-9)


@torch.no_grad()
def suppress(boxes: Tensor, alive: Tensor, overlap: float, most: int) -> Tensor:
    """Greedy non-maximum suppression of many lists at once: (R, n, 4), best first, to the (R, n) of `alive` that stay.

    A list is followed until `most` of it stay; what comes behind these is dropped. Lists that have something left are
    taken block by block: a block is compared with what stays before it, then with itself.
    """
    stay = torch.zeros_like(alive)
    for start in range(0, boxes.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        lists = (alive[:, start:].any(1) & (stay.sum(1) < most)).nonzero()[:, 0]  # of eighty phrases a few
        if len(lists) == 0:
            break
        some = boxes[lists, block]
        hidden = pairwise_iou(some, _gathered(boxes[lists], stay[lists])).gt_(overlap).any(-1)
        stay[lists, block] = _greedy(some, alive[lists, block] & ~hidden, overlap)
    return stay


def _gathered(boxes: Tensor, stay: Tensor) -> Tensor:
    """(R, k, 4): those of each list that stay, zeros behind the shorter ones."""
    order = stay.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, : int(stay.sum(1).max())]
    return (boxes * stay[..., None]).gather(1, order[..., None].expand(-1, -1, 4))


def _greedy(boxes: Tensor, alive: Tensor, overlap: float) -> Tensor:
    """The greedy rule «stay unless a better one that stays overlaps you» has one fixed point.

    It is reached by repeating the rule on all boxes together, in as many rounds as the longest chain of suppressions.
    """
    better = pairwise_iou(boxes, boxes).gt_(overlap).triu_(1)  # (R, i, j): 1 where i is better than j and overlaps it
    stay = alive
    while True:
        again = alive & (torch.bmm(stay.float()[:, None], better)[:, 0] == 0)
        if torch.equal(again, stay):
            return stay
        stay = again
