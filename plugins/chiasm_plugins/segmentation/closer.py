"""A closer look: what was found on the whole view is decoded again, each piece in a region of its own.

A click is about one piece, a phrase alone about all of them; what is hardly more than noise is left out. Where the
closer look keeps less than half of a piece it has taken one of several things that touch, and the first look stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .asking import Ask, Four
from .cleaning import pieces
from .regions import around
from .sam import IN

MOST = 6  # pieces of a phrase that are looked at closer, the largest; what is smaller still is left out
TINY = 0.02  # of all cells of the mask: a piece with less is no thing of its own
KEPT = 0.5


class Part(NamedTuple):
    """A mask, or one piece of it: logits (4, g, g) over the region of `box` (the whole view without one)."""

    logits: Tensor
    quality: Tensor  # (4,)
    box: Four | None


class Look(NamedTuple):
    """A piece that is to be looked at closer: the prompt it belongs to, and the piece as it was seen first."""

    number: int
    ask: Ask
    piece: Tensor  # (g, g) bool


def looks(asks: Sequence[Ask], logits: Tensor, view: int) -> list[Look]:
    """What to look at again, of prompts (n) without a box and their logits (n, 4, g, g)."""
    found = []
    for number, ask in enumerate(asks):
        if ask.box is None:
            chosen = _pieces(logits[number, 0], ask, view)
            found += [Look(number, replace(ask, box=_box(piece, view)), piece) for piece in chosen]
    return found


def parts(
    asks: Sequence[Ask], first: tuple[Tensor, Tensor], again: Sequence[Look], second: tuple[Tensor, Tensor], view: int
) -> list[list[Part]]:
    """What each prompt's mask is made of, from the first and the second look: logits and quality of each."""
    made: list[list[Part]] = [[] for _ in asks]
    for k, look in enumerate(again):
        # whether a phrase was understood is seen on the whole view: a piece may be perfect, and the wrong thing
        quality = second[1][k] if look.ask.places else first[1][look.number]
        closer = Part(second[0][k], quality, look.ask.box)
        fits = bool(look.ask.places) or _area(closer, view) >= KEPT * _cells(look.piece, view)
        made[look.number].append(closer if fits else _alone(first, look))
    for number, ask in enumerate(asks):
        if not made[number]:
            made[number] = [Part(first[0][number], first[1][number], ask.box)]
    return made


def _pieces(logits: Tensor, ask: Ask, view: int) -> list[Tensor]:
    """The clicked piece, or the largest if none was; of a phrase alone all that are not tiny, largest first."""
    inside = logits.numpy() > 0
    if not inside.any():
        return []
    labels, sizes = pieces(inside)
    order = np.argsort(-sizes, kind="stable")
    if ask.places:
        cell = view / inside.shape[1]
        clicked = [(int(y / cell), int(x / cell)) for x, y, kind in ask.places if kind == IN]
        held = [labels[at] for at in clicked if max(at) < len(inside) and inside[at]]
        order = np.array([held[0] if held else order[0]])
    else:
        order = order[sizes[order] >= TINY * sizes.sum()][:MOST]
    return [torch.from_numpy(inside & (labels == number)) for number in order]


def _box(piece: Tensor, view: int) -> Four:
    rows, columns = np.nonzero(piece.numpy())
    cell = view / piece.shape[1]
    edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    x0, y0, x1, y1 = (float(edge) * cell for edge in edges)
    return x0, y0, x1, y1


def _alone(first: tuple[Tensor, Tensor], look: Look) -> Part:
    """The first look's logits with every other piece turned off."""
    logits = first[0][look.number]
    return Part(torch.where(look.piece, logits, -logits.abs() - 1), first[1][look.number], None)


def _area(part: Part, view: int) -> float:
    """Square pixels of the view."""
    region = around(torch.tensor(part.box if part.box is not None else (0.0, 0.0, view, view)))
    cell = (region[2:] - region[:2]) / part.logits.shape[-1]
    return float((part.logits[0] > 0).sum() * cell.prod())


def _cells(piece: Tensor, view: int) -> float:
    return float(piece.sum()) * (view / piece.shape[-1]) ** 2
