"""Which prompts an image is trained with: boxes, true or shaken, clicks, phrases, and mixtures of them.

Everything here is drawn on the CPU and sent to the device once; the random numbers are torch's own.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .regions import around
from .sam import GAP, IN, LOWER_RIGHT, OUT, UPPER_LEFT
from .targets import CLICKS, MaskTarget

TOKENS = 6  # corners and points of a prompt, at most
RECTANGLES = 8  # boxes of a prompt's truth where no mask is known
EXACT = 0.3  # of the boxes are as they stand
SHAKEN = (0.02, 0.10)  # standard deviation of each edge, by the box's side
ALONE = 3  # prompts an image that are a phrase alone, at most
MODES = ("box and phrase", "box", "box and points", "points", "points and phrase")
MODE_WEIGHTS = (0.38, 0.18, 0.18, 0.19, 0.07)


@dataclass
class Drawn:
    """P prompts of each of B images, filled up with empty ones; N = B * P. Frames: pixels of the view."""

    regions: Tensor  # (B, P, 4)
    tokens: Tensor  # (B, P, TOKENS, 3) x, y, kind
    route: Tensor  # (B, P) which of the image's routes
    heard: Tensor  # (B, P) bool
    masks: Tensor  # (M, h, w8) bits of the known truths
    mask: Tensor  # (N,) index into `masks`; 0 where none
    known: Tensor  # (N,) bool
    rectangles: Tensor  # (N, RECTANGLES, 4) the truth where only boxes are known
    boxed: Tensor  # (N,) bool

    def to(self, device: torch.device) -> Drawn:
        """The same on another device."""
        return Drawn(**{name: value.to(device, non_blocking=True) for name, value in vars(self).items()})


@dataclass
class _Prompt:
    box: list[float] | None  # None: it looks at the whole view
    tokens: list[tuple[float, float, int]]
    route: int
    heard: bool
    mask: Tensor | None
    rectangles: list[list[float]]


def draw_prompts(targets: Sequence[Sequence[MaskTarget]], most: int, bare: int, view: int) -> Drawn:
    """At most `most` prompts an image, of these at most `bare` with a box as their only truth."""
    rng = random.Random(int(torch.randint(2**62, (1,))))
    rows = [_of_image(of_image, most, bare, view, rng) for of_image in targets]
    width = max(1, *(len(row) for row in rows))
    blank = _Prompt(None, [], 0, False, None, [])
    whole = [0.0, 0.0, float(view), float(view)]
    flat = [prompt for row in rows for prompt in [*row, *[blank] * (width - len(row))]]
    masks = [p.mask for p in flat if p.mask is not None]
    places = torch.tensor([p.mask is not None for p in flat])
    boxes = torch.tensor([p.box or whole for p in flat])
    regions = torch.where(torch.tensor([p.box is None for p in flat])[:, None], boxes, around(boxes))
    return Drawn(
        regions=regions.reshape(len(rows), width, 4),
        tokens=torch.tensor([_filled(p.tokens) for p in flat]).reshape(len(rows), width, TOKENS, 3),
        route=torch.tensor([p.route for p in flat]).reshape(len(rows), width),
        heard=torch.tensor([p.heard for p in flat]).reshape(len(rows), width),
        masks=torch.stack(masks) if masks else torch.zeros(1, view, view // 8, dtype=torch.uint8),
        mask=(places.long().cumsum(0) - 1).clamp(min=0),
        known=places,
        rectangles=torch.tensor([_rectangles(p.rectangles) for p in flat]),
        boxed=torch.tensor([p.mask is None and bool(p.rectangles) for p in flat]),
    )


def _of_image(targets: Sequence[MaskTarget], most: int, bare: int, view: int, rng: random.Random) -> list[_Prompt]:
    """An image's prompts: phrases alone first, then objects with masks, then some of which only the box is known."""
    found = [
        _Prompt(None, [], r, True, target.whole, [])
        for r, target in rng.sample(list(enumerate(targets)), len(targets))
        if target.whole is not None
    ][: min(ALONE, most)]
    known: dict[tuple[float, ...], tuple[int, int]] = {}  # an object that several phrases mean is asked for once
    boxed: dict[tuple[float, ...], tuple[int, int]] = {}
    for r in rng.sample(range(len(targets)), len(targets)):
        for k, box in enumerate(targets[r].boxes.tolist()):
            (known if k < len(targets[r].masks) else boxed).setdefault(tuple(box), (r, k))
    for r, k in rng.sample(list(known.values()), len(known))[: most - len(found)]:
        found.append(_object(targets[r], r, k, view, rng))
    for box in rng.sample(list(boxed), len(boxed))[: min(bare, most - len(found))]:
        shaken = _shaken(list(box), view, rng)
        found.append(_Prompt(shaken, _corners(shaken), boxed[box][0], rng.random() < 0.7, None, [list(box)]))
    return found


def _object(target: MaskTarget, route: int, k: int, view: int, rng: random.Random) -> _Prompt:
    """A prompt for one object whose mask is known."""
    mode = rng.choices(MODES, MODE_WEIGHTS)[0]
    box = _shaken(target.boxes[k].tolist(), view, rng)
    tokens: list[tuple[float, float, int]] = []
    if "points" in mode:
        inside, outside = rng.choice((1, 1, 1, 2, 2)), rng.choice((0, 0, 0, 1, 2))
        tokens += [(x, y, IN) for x, y in rng.sample(target.clicks[k].tolist(), min(inside, CLICKS))]
        tokens += [(x, y, OUT) for x, y in rng.sample(target.beside[k].tolist(), min(outside, CLICKS))]
    if "box" in mode:
        tokens += _corners(box)
    heard = "phrase" in mode or (mode == "box and points" and rng.random() < 0.5)
    return _Prompt(box if "box" in mode else None, tokens, route, heard, target.masks[k], [])


def _shaken(box: list[float], view: float, rng: random.Random) -> list[float]:
    """A box as a detector or a hand draws it."""
    if rng.random() < EXACT:
        return box
    share = rng.uniform(*SHAKEN)
    width, height = box[2] - box[0], box[3] - box[1]
    x0, x1 = sorted((box[0] + rng.gauss(0, share * width), box[2] + rng.gauss(0, share * width)))
    y0, y1 = sorted((box[1] + rng.gauss(0, share * height), box[3] + rng.gauss(0, share * height)))
    return [max(x0, 0.0), max(y0, 0.0), min(max(x1, x0 + 1), view), min(max(y1, y0 + 1), view)]


def _corners(box: list[float]) -> list[tuple[float, float, int]]:
    return [(box[0], box[1], UPPER_LEFT), (box[2], box[3], LOWER_RIGHT)]


def _filled(tokens: list[tuple[float, float, int]]) -> list[list[float]]:
    return [list(map(float, token)) for token in [*tokens, *[(0.0, 0.0, GAP)] * (TOKENS - len(tokens))]]


def _rectangles(boxes: list[list[float]]) -> list[list[float]]:
    return [*boxes[:RECTANGLES], *[[0.0] * 4] * (RECTANGLES - len(boxes))]
