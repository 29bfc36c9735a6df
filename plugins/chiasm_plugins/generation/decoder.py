"""Pictures from slots: the slots say what to draw and in which colour, a U-Net draws it from noise.

Flow matching (Lipman et al. 2023) in 64 pixels, sampled with classifier-free guidance (Ho and Salimans 2022), then
enlarged to 128. What a phrase leaves open ("an animal") the seed decides, as it decides everything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from chiasm_registry import CoreInfo, Picture, Route, Scene
from torch import Tensor, nn

from .bank import Bank, cut
from .clarity import STRIDES, Clarity
from .features import Features
from .kinds import COLOURS, KIND_OF, KINDS, OTHER
from .losses import Training, generation_losses, training_options
from .sample import Brush, sample
from .targets import PictureTarget
from .unet import EMBEDDED, LARGE, Draft, Enlarger

SLOTS = 4
STEPS = 20
GUIDANCE = 4.0
SURE = 0.5  # probability from which the likeliest kind is drawn without a throw of the dice


class GenerationDecoder(nn.Module):
    """Implements `Decoder` and `TrainableDecoder`."""

    def __init__(self, core: CoreInfo) -> None:
        super().__init__()
        self.ask = nn.Sequential(
            nn.LayerNorm(SLOTS * core.width),
            nn.Linear(SLOTS * core.width, 128),
            nn.GELU(),
            nn.Linear(128, len(KINDS) + 1 + len(COLOURS) + 1),
        )
        self.kinds = nn.Embedding(len(KINDS) + 1, EMBEDDED)  # the last: whatever it may be
        self.colours = nn.Embedding(len(COLOURS) + 1, EMBEDDED)  # the last: unsaid
        self.draft = Draft()
        self.enlarger = Enlarger()
        self.options = Training()
        # in tuples: neither trained nor saved
        self._drafter: tuple[Any] = (self.draft,)
        self._features: tuple[Features | None] = (None,)
        self._clarity: tuple[Clarity | None] = (None,)
        self._bank: tuple[Bank | None] = (None,)

    def read(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """What slots (R, K, D) ask for: logits of kinds (R, 81) and of colours (R, 12), the last of each is none."""
        kinds, colours = torch.split(self.ask(slots.flatten(1)), [len(KINDS) + 1, len(COLOURS) + 1], -1)
        return kinds, colours

    def what(self, kinds: Tensor, colours: Tensor, told: Tensor) -> Tensor:
        """(n, EMBEDDED) of kinds and colours (n,); nothing is said where not `told`."""
        kinds = torch.where(told, kinds, OTHER)
        colours = torch.where(told, colours, len(COLOURS))
        said: Tensor = self.kinds(kinds) + self.colours(colours)
        return said

    @torch.no_grad()
    def decode(self, scene: Scene, routes: Sequence[Route]) -> Sequence[Picture]:
        """One picture a route, one after the other: the same whatever else is asked for."""
        return [self._picture(route) for route in routes]

    def _picture(self, route: Route) -> Picture:
        options = route.options
        seed = torch.Generator().manual_seed(options.seed)
        brush = Brush(
            steps=options.steps or STEPS,
            guidance=GUIDANCE if options.guidance is None else options.guidance,
            on_step=options.on_step,
        )
        kind, colour = self._chosen(route.slots, seed)
        device = route.slots.device
        asked = torch.tensor([kind, kind], device=device), torch.tensor([colour, colour], device=device)
        what = self.what(*asked, torch.tensor([True, False], device=device))
        small = sample(self.draft, what, seed, brush)
        large = self.enlarger(small.to(what.dtype)).float().clamp(-1, 1)
        return Picture.from_image(_image(large[0], options.size or LARGE))

    def _chosen(self, slots: Tensor, seed: torch.Generator) -> tuple[int, int]:
        """The kind and the colour to draw; among kinds of which none is likely the seed throws the dice."""
        kinds, colours = self.read(slots[None])
        share = kinds[0].float().softmax(-1).cpu()
        likeliest = int(share.argmax())
        if share[likeliest] < SURE and likeliest != OTHER:
            likeliest = int(torch.multinomial(share[:OTHER], 1, generator=seed))
        return likeliest, int(colours[0].argmax())

    def prepare(self, options: Mapping[str, Any], initial: Mapping[str, Tensor]) -> None:
        """The config's numbers; the initial detector, frozen, says how alike pictures look and how clear things are."""
        self.options = training_options(options)
        if initial:
            self._features, self._clarity = (Features(initial),), (Clarity(initial),)
        if self.options.compile:
            self._drafter = (torch.compile(self.draft),)

    @property
    def drafter(self) -> Any:
        """The U-Net, compiled if the config says so."""
        return self._drafter[0]

    @property
    def features(self) -> Features | None:
        """The frozen trunk that compares pictures, in training from initial weights only."""
        return self._features[0]

    @property
    def bank(self) -> Bank:
        """The crops of the photographs that have passed by."""
        assert self._bank[0] is not None
        return self._bank[0]

    @torch.no_grad()
    def harvest(self, scenes: Sequence[Scene], targets: Sequence[Sequence[PictureTarget]]) -> None:
        """Cut the things of the scenes that are large enough to be drawn, and keep them."""
        views = torch.stack([scene.pixels(scene.size_hw[0]) for scene in scenes])
        if self._bank[0] is None:
            self._bank = (Bank(int(self.options.bank), views.device, balance=self.options.balance),)
            for frozen in (self._features[0], self._clarity[0]):
                if frozen is not None:
                    frozen.to(views.device)
        found = [
            (row, KIND_OF[thing.name], thing.box_xyxy, of_image[0].stretch)
            for row, of_image in enumerate(targets)
            for thing in of_image[0].whole
            if _longest(thing.box_xyxy, of_image[0].stretch) >= self.options.smallest_px and thing.name in KIND_OF
        ]
        if found:
            row, kinds, boxes, stretch = (torch.tensor(column).to(views.device) for column in zip(*found, strict=True))
            clear = self._clear(scenes, row, boxes, kinds)
            with torch.autocast(views.device.type, enabled=False):  # places and colours want their precision
                crops, extent = cut(views.float(), row, boxes, stretch)
                self.bank.add(crops, extent, kinds, clear, repaint=self.options.repaint)

    def _clear(self, scenes: Sequence[Scene], row: Tensor, boxes: Tensor, kinds: Tensor) -> Tensor:
        """(n,) how much each thing counts: all the same without initial weights."""
        clarity = self._clarity[0]
        if clarity is None or not scenes[0].reference_maps or not self.options.clarity:
            return torch.ones_like(boxes[:, 0])
        levels = [torch.stack(maps) for maps in zip(*(scene.reference_maps for scene in scenes), strict=True)]
        seen: Tensor = clarity(levels[-len(STRIDES) :], row, boxes, kinds)
        return seen.clamp(min=0.03).pow(self.options.clarity)

    def loss(
        self, scenes: Sequence[Scene], routes: Sequence[Sequence[Route]], targets: Sequence[Sequence[PictureTarget]]
    ) -> Mapping[str, Tensor]:
        """Naming, flow matching, perceptual and enlarging losses."""
        return generation_losses(self, scenes, routes, targets)


def _longest(box: tuple[float, float, float, float], stretch: float) -> float:
    """The longer side of a box in pixels of the view's height."""
    return max((box[2] - box[0]) * stretch, box[3] - box[1])


def _image(picture: Tensor, side: int) -> Any:
    """(3, h, w) in -1..1 as a PIL image of `side` pixels."""
    from PIL import Image

    if side != picture.shape[-1]:
        picture = F.interpolate(picture[None], (side, side), mode="bicubic", align_corners=False, antialias=True)[0]
    values = ((picture.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu().permute(1, 2, 0)
    return Image.fromarray(values.contiguous().numpy())
