"""The mask decoder: SAM's transformer on regions of one shared image embedding.

A prompt with a box is decoded in the box's own region, so that a small thing gets as many cells as a large one; a click
or a phrase alone is decoded on the whole view, then once more in the region of each piece that it found. The slots are
prompt tokens like corners and points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from chiasm_registry import CoreInfo, Masks, Route, Scene
from torch import Tensor, nn

from .answers import answer, region_in
from .asking import Ask, asks_of, best_asks
from .closer import Part, looks, parts
from .embedding import CHANNELS, Block, Embedding, Seen
from .large import Large, large_shapes
from .losses import LossWeights, loss_weights, mask_losses, presence_loss
from .regions import around, into, look
from .sam import FineMaskDecoder, Prompts
from .targets import MaskTarget

GRID = 28  # cells of a region each way, as the transformer sees it
SIDE = 4 * GRID  # of a mask
SLOTS = 4
HEADS, MLP = 4, 384
AT_ONCE = 16  # prompts decoded together: a bound on memory


class Prompted(NamedTuple):
    """P prompts of each of B images, in pixels of the view."""

    regions: Tensor  # (B, P, 4)
    places: Tensor  # (B, P, T, 2)
    kinds: Tensor  # (B, P, T) see sam.py
    slots: Tensor  # (B, P, K, D)
    heard: Tensor  # (B, P) False where the prompt has no phrase


class SegmentationDecoder(nn.Module):
    """Implements `Decoder` and `TrainableDecoder`."""

    def __init__(self, core: CoreInfo) -> None:
        super().__init__()
        self.strides = tuple(info.stride for info in core.maps)
        self.large: Large | None = None
        self.embedding = Embedding(core)
        self.nearer = Block(CHANNELS)  # on a prompt's own grid, where a thing has the size it has for all prompts
        self.prompts = Prompts(CHANNELS, GRID, SIDE)
        self.masks = FineMaskDecoder(CHANNELS, HEADS, MLP)
        self.words = nn.Sequential(nn.LayerNorm(core.width), nn.Linear(core.width, CHANNELS))
        self.silence = nn.Parameter(torch.randn(SLOTS, CHANNELS) * 0.02)  # in place of the slots of no phrase
        self.place = nn.Parameter(torch.randn(SLOTS, CHANNELS) * 0.02)
        self.presence = nn.Sequential(
            nn.LayerNorm(SLOTS * core.width), nn.Linear(SLOTS * core.width, 64), nn.GELU(), nn.Linear(64, 1)
        )
        self.weights = LossWeights()

    def see(self, maps: Sequence[Tensor], pixels: Tensor) -> Seen:
        """The embedding of B images: maps (B, C, h, w) fine to coarse, pixels (B, 3, view, view)."""
        seen: Seen = self.embedding(maps, pixels)
        return seen

    def predict(self, seen: Seen, asked: Prompted) -> tuple[Tensor, Tensor]:
        """Logits (B * P, 4, SIDE, SIDE) over the prompts' regions, and their predicted IoU (B * P, 4)."""
        regions = asked.regions
        coarse = look(seen.coarse, regions, GRID, seen.view / seen.coarse.shape[-1])
        fine4 = look(seen.fine4, regions, 2 * GRID, seen.view / seen.fine4.shape[-1])
        fine2 = look(seen.fine2, regions, 4 * GRID, seen.view / seen.fine2.shape[-1])
        places = into(regions, asked.places, SIDE).flatten(0, 1)
        tokens = [self.prompts.tokens(places, asked.kinds.flatten(0, 1)), self._heard(asked)]
        grids = self.nearer(coarse.to(self.silence.dtype)) + self.prompts.no_mask_embed.weight[..., None, None]
        waves, dtype = self.prompts.grid_waves(), self.silence.dtype
        sparse = torch.cat([t.to(dtype) for t in tokens], 1)
        return self.masks.masks(grids.to(dtype), waves.to(dtype), sparse, (fine4.to(dtype), fine2.to(dtype)))

    def _heard(self, asked: Prompted) -> Tensor:
        """(B * P, K, C) tokens of what the phrases say."""
        words = self.words(asked.slots.flatten(0, 1))
        return torch.where(asked.heard.flatten()[:, None, None], words, self.silence) + self.place

    def there(self, slots: Tensor) -> Tensor:
        """Logits (...) of what slots (..., K, D) mean being in the picture at all."""
        presence: Tensor = self.presence(slots.flatten(-2))
        return presence[..., 0]

    @torch.no_grad()
    def decode(self, scene: Scene, routes: Sequence[Route]) -> Sequence[Masks]:
        """Masks of every route: one a box, one a set of points, or one of all that the phrase means."""
        if not routes:
            return []
        view = scene.maps[0].shape[-1] * self.strides[0]
        present = [1.0] * len(routes)
        if self.large is None:
            present = self.there(torch.stack([route.slots for route in routes])).float().sigmoid().tolist()
        asked = [asks_of(route, there, scene.size_hw, view) for route, there in zip(routes, present, strict=True)]
        asked = best_asks(asked, max(_limit(route) for route in routes))
        asks = [ask for of_route in asked for ask in of_route]
        slots = [route.slots for route, of_route in zip(routes, asked, strict=True) for _ in of_route]
        if self.large is None:
            made, region = self._looked(self._seen(scene, view), asks, slots), region_in(scene.size_hw, view)
        else:
            logits, quality = self.large.answered(scene, asks, view)
            whole = self.large.region(scene.size_hw)
            made = [[Part(*both, None)] for both in zip(logits, quality, strict=True)]
            region = lambda part: whole  # noqa: E731  # all logits cover the same square
        answers, start = [], 0
        for route, of_route in zip(routes, asked, strict=True):
            own = slice(start, start + len(of_route))
            answers.append(answer(route, asks[own], made[own], region, scene.size_hw))
            start = own.stop
        return answers

    def _looked(self, seen: Seen, asks: Sequence[Ask], slots: Sequence[Tensor]) -> list[list[Part]]:
        """Every prompt answered, and what was found without a box looked at once more; see closer.py."""
        first = self._answered(seen, asks, slots)
        again = looks(asks, first[0], seen.view)
        second = self._answered(seen, [look.ask for look in again], [slots[look.number] for look in again])
        return parts(asks, first, again, second, seen.view)

    def _seen(self, scene: Scene, view: int) -> Seen:
        """The image's embedding, made at the first call."""
        if "seen" not in scene.memo:
            pixels = scene.pixels(view)[None].to(scene.maps[0].dtype)
            scene.memo["seen"] = self.see([m[None] for m in scene.maps], pixels)
        seen: Seen = scene.memo["seen"]
        return seen

    def _answered(self, seen: Seen, asks: Sequence[Ask], slots: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (n, 4, SIDE, SIDE) and predicted IoU (n, 4), float32, on the CPU, of n prompts."""
        logits, quality = [torch.zeros(0, 4, SIDE, SIDE)], [torch.zeros(0, 4)]
        for start in range(0, len(asks), AT_ONCE):
            some = asks[start : start + AT_ONCE]
            prompted = self._prompted(some, torch.stack(list(slots[start : start + AT_ONCE])), seen.view)
            found = self.predict(seen, prompted)
            logits.append(found[0].float().cpu())
            quality.append(found[1].float().cpu())
        return torch.cat(logits), torch.cat(quality)

    @staticmethod
    def _prompted(asks: Sequence[Ask], slots: Tensor, view: int) -> Prompted:
        """The prompts of one image as tensors on the slots' device; shorter ones are filled up with gaps."""
        longest = max(len(ask.tokens) for ask in asks)
        rows = [[*ask.tokens, *[(0.0, 0.0, -1)] * (longest - len(ask.tokens))] for ask in asks]
        tokens = torch.tensor(rows, dtype=torch.float32).reshape(len(asks), longest, 3).to(slots.device)
        whole = (0.0, 0.0, float(view), float(view))
        boxes = torch.tensor([ask.box or whole for ask in asks])
        boxed = torch.tensor([ask.box is not None for ask in asks])
        regions = torch.where(boxed[:, None], around(boxes), boxes).to(slots.device)
        heard = torch.tensor([ask.heard for ask in asks]).to(slots.device)
        return Prompted(regions[None], tokens[None, ..., :2], tokens[None, ..., 2].long(), slots[None], heard[None])

    def grow(self, tensors: Mapping[str, Tensor]) -> None:
        """Become a whole SAM if that is what is stored; see large.py."""
        shapes = large_shapes(tensors)
        if shapes:
            for name in [name for name, _ in self.named_children()]:
                delattr(self, name)
            del self.silence, self.place
            self.large = Large(shapes)

    def prepare(self, options: Mapping[str, Any], initial: Mapping[str, Tensor]) -> None:
        """Loss weights and the mixture of prompts from the config; published weights hold nothing for masks."""
        self.weights = loss_weights(options)

    def loss(
        self, scenes: Sequence[Scene], routes: Sequence[Sequence[Route]], targets: Sequence[Sequence[MaskTarget]]
    ) -> Mapping[str, Tensor]:
        """Mask, box-supervised, quality and presence losses of a batch; presence alone where no prompts are wanted."""
        if not self.weights.prompts:
            return {"presence": presence_loss(self, routes, targets)}
        view = scenes[0].maps[0].shape[-1] * self.strides[0]
        maps = [torch.stack(level) for level in zip(*(scene.maps for scene in scenes), strict=True)]
        pixels = torch.stack([scene.pixels(view) for scene in scenes])
        return mask_losses(self, self.see(maps, pixels), pixels, routes, targets)


def _limit(route: Route) -> int:
    return 100 if route.options is None else int(route.options.max_objects)
