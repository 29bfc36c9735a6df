"""What can be drawn: kinds of things, and their colours, which are read from words and measured on pixels alike."""

from __future__ import annotations

import re

import torch
from chiasm_registry.coco import COCO_NAMES
from torch import Tensor

KINDS = COCO_NAMES  # in the order of the rows that stand for them
KIND_OF = {name: k for k, name in enumerate(KINDS)}
OTHER = len(KINDS)  # a word for nothing that was ever seen
COLOURS = ("black", "white", "grey", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
UNSAID = len(COLOURS)  # no colour is asked for, or none prevails
SAME = {"gray": "grey", "silver": "grey", "golden": "yellow", "gold": "yellow", "tan": "brown", "violet": "purple"}
# Things that people make in any colour: a training crop of one may be painted over.
PAINTED = frozenset(
    KIND_OF[name]
    for name in [
        *("bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "fire hydrant", "bench"),
        *("backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "snowboard", "kite", "skateboard"),
        *("surfboard", "bottle", "cup", "bowl", "chair", "couch", "bed", "toilet", "clock", "vase", "teddy bear"),
    ]
)
_ACHROMATIC = 3  # black, white and grey stand first: they prevail only where they cover more
_PREVAILS = (0.45, 0.30)  # share of the region from which an achromatic, a chromatic colour is the thing's own


def colour_of(phrase: str) -> int:
    """Index into `COLOURS` of the first colour that the phrase gives its thing ("red bus"), or `UNSAID`.

    The last word is the thing itself, so that an orange has no colour.
    """
    for word in re.findall(r"[a-z]+", phrase.lower())[:-1]:
        name = SAME.get(word, word)
        if name in COLOURS:
            return COLOURS.index(name)
    return UNSAID


def colour_classes(pixels: Tensor) -> Tensor:
    """(..., h, w) indices into `COLOURS` of (..., 3, h, w) RGB in 0..1, by fixed borders of hue, saturation, value."""
    top, low = pixels.amax(-3), pixels.amin(-3)
    span = (top - low).clamp(min=1e-6)
    red, green, blue = pixels.unbind(-3)
    by_channel = torch.stack([(green - blue) / span % 6, (blue - red) / span + 2, (red - green) / span + 4])
    hue = by_channel.gather(0, pixels.argmax(-3)[None])[0] * 60  # degrees
    saturation = (top - low) / top.clamp(min=1e-6)
    borders = hue.new_tensor([15.0, 40.0, 70.0, 170.0, 260.0, 300.0, 345.0])
    names = torch.tensor([3, 4, 5, 6, 7, 8, 9, 3], device=pixels.device)  # red to pink, and red again
    found = names[torch.bucketize(hue.contiguous(), borders, right=True)]
    warm = (hue < 40) | (hue >= 345)
    dull = (top < 0.5) | ((hue >= 10) & (hue < 40) & (saturation < 0.65))
    found = torch.where(warm & dull, 10, found)  # a dark red, a dark or a dull orange is brown
    found = torch.where(((hue >= 330) | (hue < 15)) & (saturation < 0.5) & (top >= 0.7), 9, found)  # a pale red, pink
    grey = torch.where(top > 0.75, 1, 2)
    found = torch.where(saturation < 0.22, grey, found)
    return torch.where((top < 0.2) | ((top < 0.3) & (saturation < 0.3)), 0, found)


def colour_shares(pixels: Tensor, region: Tensor) -> Tensor:
    """(B, 11): how much of the `region` (B, h, w, weights) each colour covers in (B, 3, h, w) RGB in 0..1."""
    classes = colour_classes(pixels).flatten(1)  # (B, h * w)
    weights = region.flatten(1) / region.flatten(1).sum(1, keepdim=True).clamp(min=1e-6)
    shares = weights.new_zeros(len(pixels), len(COLOURS))
    return shares.scatter_add_(1, classes, weights)


def prevailing(shares: Tensor) -> Tensor:
    """(B,) the colour that a thing has, or `UNSAID`: the largest share, each against what it takes to prevail."""
    needed = torch.full_like(shares, _PREVAILS[1])
    needed[:, :_ACHROMATIC] = _PREVAILS[0]
    ratio, index = (shares / needed).max(1)
    return torch.where(ratio >= 1, index, UNSAID)


def middle(side: int, device: torch.device, extent: tuple[float, float] = (0.35, 0.35)) -> Tensor:
    """(side, side) weights: 1 in the ellipse around the middle with these half axes (x, y; 0.5 is the edge)."""
    centre = (torch.arange(side, device=device) + 0.5) / side - 0.5
    inside = (centre[None, :] / extent[0]) ** 2 + (centre[:, None] / extent[1]) ** 2 <= 1
    return inside.float()
