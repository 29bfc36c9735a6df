"""The training losses of segmentation, on all prompts of a batch at once; every loss weight is here.

BCE and dice (Milletari et al., V-Net, 2016) count alike, as in Mask2Former (Cheng et al., 2022), each as the mean over
the prompt's own region, so that a small thing weighs as much as a large one; of rival readings only the best learns,
and the predicted IoU is regressed (both Kirillov et al., Segment Anything, 2023). Where only a box is known, its
projections and the pixels' colours teach (Tian et al., BoxInst, 2021).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from chiasm_registry import Route, TrainingError
from chiasm_registry.errors import shown
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .embedding import Seen
from .prompting import Drawn, draw_prompts
from .regions import look, middles
from .targets import MaskTarget

if TYPE_CHECKING:
    from .decoder import SegmentationDecoder

FINER = 2  # cells of the truth a cell of the prediction, each way, before they are averaged
ALIKE = 0.3  # colour similarity from which two cells are held to be of one thing (BoxInst)
REACH = 2  # cells between the two


@dataclass(frozen=True)
class LossWeights:
    """How much each part counts, and how many prompts an image has."""

    cover: float = 2.0  # BCE
    dice: float = 2.0
    rivals: float = 0.5  # the best of the three further masks, by cover and dice
    quality: float = 1.0  # the predicted IoU
    box: float = 0.4  # projections, where only a box is known
    colour: float = 0.2  # colour affinity there
    presence: float = 0.5
    prompts: int = 8  # an image, at most; 0: no masks are learned, for runs in which the language model learns
    bare: int = 2  # of these with a box as their only truth


def loss_weights(options: Mapping[str, Any]) -> LossWeights:
    """The weights that a training config sets; an unknown one, or one that is no number from 0 on, is refused."""
    known = {field.name: field.type for field in fields(LossWeights)}
    for key, value in options.items():
        if key not in known:
            raise TrainingError(f"tasks.segmentation: key {shown(key, 40)} is unknown; there are {', '.join(known)}")
        kinds = (int,) if known[key] == "int" else (int, float)
        if type(value) not in kinds or not 0 <= value < float("inf"):
            wanted = "a whole number" if kinds == (int,) else "a number"
            raise TrainingError(
                f"tasks.segmentation: key {key} is {shown(repr(value), 40)}; it must be {wanted} from 0 on"
            )
    return LossWeights(**options)


def mask_losses(
    head: SegmentationDecoder,
    seen: Seen,
    pixels: Tensor,
    routes: Sequence[Sequence[Route]],
    targets: Sequence[Sequence[MaskTarget]],
) -> Mapping[str, Tensor]:
    """Named losses, weighted by `head.weights`; `pixels` (B, 3, view, view) in 0..1."""
    weights, device = head.weights, pixels.device
    slots = pad_sequence([torch.stack([route.slots for route in rs]) for rs in routes], batch_first=True)
    drawn = draw_prompts(targets, weights.prompts, weights.bare, seen.view).to(device)
    losses = {"presence": presence_loss(head, routes, targets)}
    from .decoder import Prompted

    own = slots.gather(1, drawn.route[..., None, None].expand(-1, -1, *slots.shape[2:]))
    tokens = drawn.tokens
    asked = Prompted(drawn.regions, tokens[..., :2], tokens[..., 2].long(), own, drawn.heard)
    logits, quality = head.predict(seen, asked)
    logits, quality = logits.float(), quality.float()
    truth = _truth(drawn, seen.view, logits.shape[-1])
    losses.update(_known_losses(logits, quality, truth, drawn.known.float(), weights))
    losses.update(_boxed_losses(logits[:, 0], drawn, pixels, weights))
    return losses


def _truth(drawn: Drawn, view: int, side: int) -> Tensor:
    """(N, side, side) in 0..1: how much of each cell of a prompt's region its mask covers."""
    shifts = torch.arange(7, -1, -1, device=drawn.masks.device, dtype=torch.uint8)
    bits = (drawn.masks[..., None] >> shifts & 1).flatten(2)[..., :view]  # (M, h, w)
    regions = drawn.regions.flatten(0, 1)
    seen = look(bits[drawn.mask][:, None].half(), regions[:, None], FINER * side, 1.0)
    return F.avg_pool2d(seen, FINER)[:, 0]


def _known_losses(
    logits: Tensor, quality: Tensor, truth: Tensor, known: Tensor, weights: LossWeights
) -> dict[str, Tensor]:
    """Where a mask is known: `logits` (N, 4, s, s), `quality` (N, 4), `truth` (N, s, s), `known` (N,) 1 or 0."""
    total = known.sum().clamp(min=1.0)
    wanted = truth[:, None].expand_as(logits)
    cover = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").mean((2, 3))  # (N, 4)
    chance = logits.sigmoid()
    dice = 1 - (2 * (chance * wanted).sum((2, 3)) + 1) / (chance.sum((2, 3)) + wanted.sum((2, 3)) + 1)
    rivals = (weights.cover * cover + weights.dice * dice)[:, 1:].amin(1)
    with torch.no_grad():
        inside, true = logits > 0, wanted > 0.5
        iou = (inside & true).sum((2, 3)) / (inside | true).sum((2, 3)).clamp(min=1)
    error = ((quality - iou) ** 2).mean(1)
    return {
        "cover": weights.cover * (cover[:, 0] * known).sum() / total,
        "dice": weights.dice * (dice[:, 0] * known).sum() / total,
        "rivals": weights.rivals * (rivals * known).sum() / total,
        "quality": weights.quality * (error * known).sum() / total,
    }


def _boxed_losses(logits: Tensor, drawn: Drawn, pixels: Tensor, weights: LossWeights) -> dict[str, Tensor]:
    """Where only boxes are known: `logits` (N, s, s) of the answer."""
    side, boxed = logits.shape[-1], drawn.boxed.float()
    total = boxed.sum().clamp(min=1.0)
    places = middles(drawn.regions.flatten(0, 1), side)[:, None]  # (N, 1, s, s, 2)
    low, high = drawn.rectangles[:, :, None, None, :2], drawn.rectangles[:, :, None, None, 2:]
    inside = ((places > low) & (places < high)).all(-1).any(1).float()  # (N, s, s)
    chance = logits.sigmoid()
    box = 0.5 * sum(_projected(chance.amax(axis), inside.amax(axis)) for axis in (1, 2))
    outside = (F.softplus(logits) * (1 - inside)).mean((1, 2))
    colours = look(pixels, drawn.regions, side // 2, 1.0)
    half, within = F.avg_pool2d(logits[:, None], 2)[:, 0], F.max_pool2d(inside[:, None], 2)[:, 0]
    colour = _colour_loss(half, colours, within)
    return {
        "box": weights.box * ((box + outside) * boxed).sum() / total,
        "colour": weights.colour * (colour * boxed).sum() / total,
    }


def _projected(chance: Tensor, inside: Tensor) -> Tensor:
    """(N,) dice of two projections (N, s)."""
    return 1 - (2 * (chance * inside).sum(1) + 1) / ((chance**2).sum(1) + (inside**2).sum(1) + 1)


def _colour_loss(logits: Tensor, colours: Tensor, within: Tensor) -> Tensor:
    """(N,): cells of one colour should be of one answer; `logits`, `within` (N, s, s), `colours` (N, 3, s, s)."""
    sums, counts = [], []
    yes, no = F.logsigmoid(logits), F.logsigmoid(-logits)
    for down, across in ((0, REACH), (REACH, 0), (REACH, REACH), (REACH, -REACH)):
        one = (slice(None), slice(0, -down or None), slice(max(-across, 0), -across if across > 0 else None))
        other = (slice(None), slice(down, None), slice(max(across, 0), across if across < 0 else None))
        same = torch.logaddexp(yes[one] + yes[other], no[one] + no[other])  # how surely both are of one side
        gap = (colours[:, :, *one[1:]] - colours[:, :, *other[1:]]).norm(dim=1)
        weight = ((-6.0 * gap).exp() > ALIKE) * torch.maximum(within[one], within[other])
        sums.append((-same * weight).sum((1, 2)))
        counts.append(weight.sum((1, 2)))
    return torch.stack(sums).sum(0) / torch.stack(counts).sum(0).clamp(min=1.0)


def presence_loss(
    head: SegmentationDecoder, routes: Sequence[Sequence[Route]], targets: Sequence[Sequence[MaskTarget]]
) -> Tensor:
    """Is the phrase in the picture at all? A group alone says neither yes nor no."""
    slots = torch.stack([route.slots for of_image in routes for route in of_image])
    flat = [target for of_image in targets for target in of_image]
    yes = torch.tensor([float(len(t.boxes) > 0) for t in flat]).to(slots.device, non_blocking=True)
    sure = torch.tensor([float(len(t.boxes) > 0 or not t.group) for t in flat]).to(slots.device, non_blocking=True)
    loss = F.binary_cross_entropy_with_logits(head.there(slots).float(), yes, reduction="none")
    return head.weights.presence * (loss * sure).sum() / sure.sum().clamp(min=1.0)
