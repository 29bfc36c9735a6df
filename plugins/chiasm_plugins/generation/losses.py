"""The training losses of generation; every weight is here.

The slots learn which kind of thing, and in which colour, a phrase asks for. Apart from that, the U-Net learns from
crops of true things whose kind is annotated and whose colour is measured, so that pictures need not wait for words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from chiasm_registry import Route, Scene, TrainingError
from chiasm_registry.errors import shown
from torch import Tensor

from .bank import unsaid
from .kinds import KIND_OF, OTHER, colour_of
from .targets import PictureTarget
from .unet import DEVIATION, noised, share_out

if TYPE_CHECKING:
    from .decoder import GenerationDecoder


@dataclass(frozen=True)
class Training:
    """How much each part counts, and how pictures are drawn from the bank; `draws` 0 teaches the slots alone."""

    naming: float = 0.5
    flow: float = 1.0
    perceptual: float = 0.25  # of what the U-Net takes for the clean picture, in the less noisy half of a step
    detail: float = 1.0  # of the enlarger, absolute difference
    texture: float = 0.2  # of the enlarger, perceptual
    grain: float = 0.1  # deviation of the noise, at most, that the enlarger learns to take away
    draws: float = 512  # crops a step
    balance: float = 0.5  # a kind with n crops is drawn as often as n to this power says
    clarity: float = 2.0  # a crop is drawn by how clear the frozen detector finds it, to this power; 0: all alike
    bank: float = 8192  # crops that are kept
    smallest_px: float = 60  # of a box's longer side in the view
    repaint: float = 0.3  # share of painted things whose crop changes colour
    unsaid: float = 0.35  # share of crops whose colour is not told
    free: float = 0.1  # share of crops of which nothing is told: classifier-free guidance (Ho and Salimans 2022)
    time_mean: float = -0.3  # of the logit-normal time (Esser et al. 2024); lower is noisier
    compile: float = 0  # 1: the U-Net is compiled, which a GPU takes a minute for and gains by


def training_options(options: Mapping[str, Any]) -> Training:
    """What a training config sets; an unknown key, or a value that is no finite number, is refused."""
    known = [field.name for field in fields(Training)]
    for key, value in options.items():
        if key not in known:
            raise TrainingError(f"tasks.generation: key {shown(key, 40)} is unknown; there are {', '.join(known)}")
        lowest = -10.0 if key == "time_mean" else 0.0
        if type(value) not in (int, float) or not lowest <= value < float("inf"):
            fact = f"key {key} is {shown(repr(value), 40)}; it must be a number from {lowest:g} on"
            raise TrainingError(f"tasks.generation: {fact}")
    return Training(**options)


def generation_losses(
    decoder: GenerationDecoder,
    scenes: Sequence[Scene],
    routes: Sequence[Sequence[Route]],
    targets: Sequence[Sequence[PictureTarget]],
) -> Mapping[str, Tensor]:
    """Named losses, weighted by `decoder.training_options`."""
    options = decoder.options
    slots = torch.stack([route.slots for of_image in routes for route in of_image])
    phrases = [route.phrase for of_image in routes for route in of_image]
    meanings = [target.meaning for of_image in targets for target in of_image]
    losses = {"naming": options.naming * naming_loss(decoder.read(slots), meanings, phrases)}
    if options.draws >= 1:
        decoder.harvest(scenes, targets)
        losses.update(drawing_losses(decoder))
    return losses


def naming_loss(read: tuple[Tensor, Tensor], meanings: Sequence[Sequence[str]], phrases: Sequence[str]) -> Tensor:
    """Cross-entropy of what the slots ask for; a word for several kinds ("animal") shares the probability out."""
    kinds, colours = (logits.float() for logits in read)
    wanted = torch.zeros(kinds.shape)
    for row, meaning in enumerate(meanings):
        known = [KIND_OF[name] for name in meaning if name in KIND_OF] or [OTHER]
        wanted[row, known] = 1 / len(known)
    colour = torch.tensor([colour_of(phrase) for phrase in phrases])
    return F.cross_entropy(kinds, wanted.to(kinds.device)) + F.cross_entropy(colours, colour.to(colours.device))


def drawing_losses(decoder: GenerationDecoder) -> dict[str, Tensor]:
    """Flow matching on crops of the bank, a perceptual term on its cleaner half, the enlarger on the cleanest."""
    options = decoder.options
    count, device = int(options.draws), decoder.bank.kinds.device
    with torch.autocast(device.type, enabled=False):
        large, kinds, colours = decoder.bank.draw(count)
    clean = F.avg_pool2d(large, 2)
    # the cleanest first: what only they learn from is a slice, and nothing waits for the device
    time = torch.sigmoid(torch.randn(count, device=device) + options.time_mean).sort(descending=True).values
    told = torch.rand(count, device=device) >= options.free
    what = decoder.what(kinds, unsaid(colours, options.unsaid), told)
    guess = decoder.drafter(noised(clean, torch.randn_like(clean), time), time, what).float()
    _, add, _ = share_out(time)
    losses = {"flow": options.flow * DEVIATION * (((guess - clean) / add) ** 2).mean()}
    features = decoder.features
    if features is not None and options.perceptual:
        half = max(1, count // 2)
        losses["perceptual"] = options.perceptual * features.distance(guess[:half], clean[:half]).mean()
    eighth = max(1, count // 8)
    small = guess[:eighth].detach()
    small = small + torch.randn_like(small) * torch.rand(eighth, 1, 1, 1, device=device) * options.grain
    larger = decoder.enlarger(small.clamp(-1, 1)).float()
    losses["detail"] = options.detail * (larger - large[:eighth]).abs().mean()
    if features is not None and options.texture:
        losses["texture"] = options.texture * features.distance(larger, large[:eighth]).mean()
    return losses
