"""A phrase's candidates held against each other: which of the dogs is «the left dog», «the big one», «the brown one».

A location's score knows what a thing is, not where it stands among its like. So the best boxes of a phrase look at one
another (as in relation networks for objects, Hu et al. 2018), each with its place, its size, the colours on it, what
the head saw there and how well it was scored, beside what the slots say. What comes of it is added to their scores.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST = 24  # boxes of a phrase that are compared
PLAUSIBLE = 0.03  # score from which a box is one of them
APART = 1.0  # logits by which boxes differ where a phrase means one of them
DIM = 96
COLOURS = 5  # places each way at which the colour of a box is read
INNER = 0.6  # of the box, each way, in which they lie
PIXELS = 112  # a side of the picture that colours are read from
_WAVES = (1.0, 2.0, 4.0)


class Candidates(NamedTuple):
    """The best boxes of each of R phrases in B images, none of which hides another."""

    locations: Tensor  # (B, R, n)
    logits: Tensor  # (B, R, n)
    there: Tensor  # (B, R, n) False where padding


class Leaders(NamedTuple):
    """Places in lists of which some stay."""

    places: Tensor  # (..., n) those that stay first, in their order
    there: Tensor  # (..., n) False behind the last that stays


class Compared(NamedTuple):
    """n boxes of each of P phrases, as they are compared."""

    boxes: Tensor  # (P, n, 4) xyxy, shares of the view
    seen: Tensor  # (P, n, C) the head's features
    colours: Tensor  # (P, n, 75) of `colours_in`
    logits: Tensor  # (P, n)
    there: Tensor  # (P, n) False where padding


def plausible(logits: Tensor) -> Tensor:
    """Whether a location is sure enough of a phrase to be compared."""
    return logits > math.log(PLAUSIBLE / (1 - PLAUSIBLE))


def leading(stay: Tensor) -> Leaders:
    """The first `MOST` of each list (..., n) that stay."""
    places = stay.to(torch.uint8).argsort(dim=-1, descending=True, stable=True)[..., :MOST]
    return Leaders(places, stay.gather(-1, places))


def settled(logits: Tensor, more: Tensor, there: Tensor) -> Tensor:
    """The logits (P, n) with what the comparison adds; what is not `there` stays.

    Where it tells boxes apart by more than `APART`, the phrase means one thing: the box that comes out best. Names are
    told apart by a tenth of that, phrases for one of several by several times as much.
    """
    added = torch.where(there, more, 0.0)
    apart = torch.where(there, more, -torch.inf).amax(1) - torch.where(there, more, torch.inf).amin(1) > APART
    compared = logits + added
    best = torch.where(there, compared, -torch.inf).argmax(1, keepdim=True)
    loses = there & apart[:, None] & (torch.arange(there.shape[1], device=there.device) != best)
    return torch.where(loses, -torch.inf, compared)


class Rivals(nn.Module):
    """What to add to the scores of boxes that one phrase may mean."""

    def __init__(self, slots: int, width: int, features: int) -> None:
        super().__init__()
        self.words = nn.Sequential(nn.LayerNorm(slots * width), nn.Linear(slots * width, DIM))
        self.place = nn.Linear(5 + 8 * len(_WAVES), DIM)
        self.colour = nn.Linear(3 * COLOURS**2, DIM)
        self.seen = nn.Linear(features, DIM)
        self.mixed = nn.Sequential(nn.GELU(), nn.Linear(DIM, DIM))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(DIM, 4, 2 * DIM, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(2)
        )
        self.more = nn.Linear(DIM, 1)
        nn.init.zeros_(self.more.weight)  # until something is learned, a score stays what it is
        nn.init.zeros_(self.more.bias)

    def forward(self, slots: Tensor, of_phrase: Compared) -> Tensor:
        """(P, n) to add to the logits of n boxes of each of P phrases, whose slots are (P, K, D)."""
        boxes, seen, colours, logits, there = of_phrase
        dtype = self.more.weight.dtype
        told = self.words(slots.flatten(1))[:, None]
        parts = self.place(_place(boxes, logits).to(dtype)) + self.colour(colours.to(dtype)) + self.seen(seen)
        x = parts + self.mixed(parts + told)
        hidden = ~(there | ~there.any(1, keepdim=True))  # a row of padding alone looks at itself
        for block in self.blocks:
            x = block(x, src_key_padding_mask=hidden)
        more: Tensor = self.more(x)[..., 0]
        return more.float()


def _place(boxes: Tensor, scores: Tensor) -> Tensor:
    """(..., 29): centre, logarithm of the size, score, and waves of centre and size."""
    low, high = boxes[..., :2].float(), boxes[..., 2:].float()
    centre, size = (low + high) / 2, (high - low).clamp(min=1e-3)
    flat = torch.cat([centre, size.sqrt()], -1)
    waves = torch.cat([fn(flat * (torch.pi * w)) for w in _WAVES for fn in (torch.sin, torch.cos)], -1)
    return torch.cat([centre * 2 - 1, size.log() / 2, scores[..., None].float() / 4, waves], -1)


def colours_in(pixels: Tensor, boxes: Tensor) -> Tensor:
    """RGB at a grid of places in the middle of boxes (B, m, 4), shares of the view, of pixels (B, 3, S, S): (B, m, 75).

    In -1..1.
    """
    steps = ((torch.arange(COLOURS, device=boxes.device) + 0.5) / COLOURS - 0.5) * INNER + 0.5
    x = boxes[..., :1] + (boxes[..., 2:3] - boxes[..., :1]) * steps  # (B, m, 5)
    y = boxes[..., 1:2] + (boxes[..., 3:] - boxes[..., 1:2]) * steps
    b, m = x.shape[:2]
    grid = torch.stack([x[:, :, None, :].expand(-1, -1, COLOURS, -1), y[..., None].expand(-1, -1, -1, COLOURS)], -1)
    grid = grid.reshape(b, m, COLOURS**2, 2) * 2 - 1
    found = F.grid_sample(pixels.float(), grid.float(), "bilinear", "border", align_corners=False)  # (B, 3, m, 25)
    return found.permute(0, 2, 3, 1).flatten(2) * 2 - 1
