"""The detection head: boxes at every location of a pyramid, classified by what the slots ask for.

A location's score for a phrase is the similarity of its feature with a projection of the phrase's slots, times how
likely the slots alone hold the phrase to be in the picture at all. Box edges are distributions over distances
(generalized focal loss, Li et al. 2020); locations, levels and the folded head follow NanoDet-Plus (RangiLyu 2021).
What a location cannot know, which of several is meant, the boxes of a phrase settle among themselves (rivals.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from chiasm_registry import Box, Boxes, CoreInfo, Route, Scene, ScoredBox
from torch import Tensor, nn

from .boxes import suppress
from .losses import LossWeights, detection_losses, loss_weights
from .pyramid import LEVELS, WIDTH, Levels, Separable
from .rivals import MOST, PIXELS, Candidates, Compared, Rivals, colours_in, leading, plausible, settled
from .targets import BoxTarget
from .teacher import Teacher

BINS = 8  # of a distance's distribution, in units of the level's stride
SLOTS = 4
PROTOTYPES = 128  # kinds of things that slots can point to; the answer is a mixture of them
ANSWER = LEVELS * (WIDTH + 1)  # weights and a bias for each level's features
CANDIDATES = 300  # locations a phrase before suppression
CONSIDERED = 160  # in training
OVERLAP = 0.6  # IoU from which the weaker of two boxes of one phrase is suppressed
PRESENCE = 0.2  # exponent of the presence; the location's score has the rest


@dataclass(frozen=True, eq=False)
class Located:
    """What the head sees in B images before anything is asked."""

    features: list[Tensor]  # (B, C, h, w) of each level
    distances: Tensor  # (B, L, 4 * BINS) logits
    boxes: Tensor  # (B, L, 4) pixels of the view
    centres: Tensor  # (L, 2) x, y
    strides: Tensor  # (L,)
    view_hw: tuple[int, int]


class Judged(NamedTuple):
    """R phrases held against B images; all logits."""

    scores: Tensor  # (B, R, L)
    presence: Tensor  # (B, R)
    kind: Tensor  # (B, R, PROTOTYPES)


class DetectionDecoder(nn.Module):
    """Implements `Decoder` and `TrainableDecoder`."""

    def __init__(self, core: CoreInfo) -> None:
        super().__init__()
        self.levels = Levels(core)
        self.towers = nn.ModuleList(nn.Sequential(Separable(WIDTH), Separable(WIDTH)) for _ in range(LEVELS))
        self.edges = nn.ModuleList(nn.Conv2d(WIDTH, 4 * BINS, 1) for _ in range(LEVELS))
        self.ask = nn.Sequential(
            nn.LayerNorm(SLOTS * core.width),
            nn.Linear(SLOTS * core.width, 512),
            nn.GELU(),
            nn.Linear(512, PROTOTYPES + 1),
        )
        self.prototypes = nn.Parameter(torch.randn(PROTOTYPES, ANSWER) * 0.02)
        with torch.no_grad():
            self.prototypes[:, WIDTH :: WIDTH + 1] = -5.0  # a location is rarely the thing asked for
        self.rivals = Rivals(SLOTS, core.width, WIDTH)
        self.bins: Tensor
        self.register_buffer("bins", torch.arange(BINS, dtype=torch.float32), persistent=False)
        self.weights = LossWeights()
        self._teacher: tuple[Teacher | None] = (None,)  # in a tuple: neither trained nor saved

    def locate(self, maps: Sequence[Tensor]) -> Located:
        """Features and boxes of every location of B images, whose maps are (B, C, h, w) each."""
        features = [tower(level) for tower, level in zip(self.towers, self.levels(maps), strict=True)]
        distances = torch.cat([edge(f).flatten(2) for edge, f in zip(self.edges, features, strict=True)], 2).transpose(
            1, 2
        )
        centres, strides = self._grid(features)
        # in full precision, whatever the weights have: a pixel of 448 is little
        shares = distances.float().reshape(*distances.shape[:2], 4, BINS).softmax(-1)
        reach = shares @ self.bins.float() * strides[:, None]  # (B, L, 4)
        boxes = torch.cat([centres - reach[..., :2], centres + reach[..., 2:]], -1)
        finest = maps[self.levels.use[0]].shape[-2:]
        stride = self.levels.strides[1] if self.levels.one_grid else self.levels.strides[0]
        return Located(features, distances, boxes, centres, strides, (finest[0] * stride, finest[1] * stride))

    def _grid(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Centres (L, 2) and strides (L,) of all locations."""
        centres, strides = [], []
        for feature, stride in zip(features, self.levels.strides, strict=True):
            h, w = feature.shape[-2:]
            y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            centres.append(torch.stack([x, y], -1).reshape(-1, 2) * float(stride))
            strides.append(torch.full((h * w,), float(stride)))
        return torch.cat(centres).to(features[0].device), torch.cat(strides).to(features[0].device)

    def judge(self, located: Located, slots: Tensor) -> Judged:
        """What slots (B, R, K, D) ask for, held against every location."""
        kind, presence = torch.split(self.ask(slots.flatten(2)), [PROTOTYPES, 1], -1)
        answer = kind.softmax(-1) @ self.prototypes
        weights = answer.reshape(*answer.shape[:2], LEVELS, WIDTH + 1)  # (B, R, LEVELS, C + 1)
        logits = [
            torch.einsum("brc,bcl->brl", weights[:, :, k, :-1], feature.flatten(2)) + weights[:, :, k, -1:]
            for k, feature in enumerate(located.features)
        ]
        return Judged(torch.cat(logits, 2), presence[..., 0], kind)

    @torch.no_grad()
    def candidates(self, located: Located, logits: Tensor) -> Candidates:
        """What training compares: the best locations by their logits (B, R, L), none of which hides another."""
        best = logits.topk(min(CONSIDERED, logits.shape[2]), 2)
        boxes = located.boxes.detach()[:, None].expand(-1, logits.shape[1], -1, -1)
        boxes = boxes.gather(2, best.indices[..., None].expand(-1, -1, -1, 4))
        stay = suppress(boxes.flatten(0, 1), plausible(best.values).flatten(0, 1), OVERLAP, MOST)
        places, there = leading(stay.reshape(best.indices.shape))
        return Candidates(best.indices.gather(2, places), best.values.gather(2, places), there)

    def compare(self, located: Located, scenes: Sequence[Scene], slots: Tensor, candidates: Candidates) -> Tensor:
        """(B, R, n) to add to the logits of the candidates of phrases with slots (B, R, K, D)."""
        locations, logits, there = candidates
        b, r, n = locations.shape
        view = located.boxes.new_tensor([located.view_hw[1], located.view_hw[0]] * 2)
        flat = locations.flatten(1)[..., None]  # (B, R * n, 1)
        boxes = (located.boxes.detach() / view).gather(1, flat.expand(-1, -1, 4)).clamp(0, 1)
        features = torch.cat([feature.flatten(2) for feature in located.features], 2).transpose(1, 2)
        seen = features.gather(1, flat.expand(-1, -1, WIDTH))
        colours = colours_in(torch.stack([scene.pixels(PIXELS) for scene in scenes]), boxes)
        of_phrase = Compared(
            boxes=boxes.reshape(b * r, n, -1),
            seen=seen.reshape(b * r, n, -1),
            colours=colours.reshape(b * r, n, -1),
            logits=logits.flatten(0, 1),
            there=there.flatten(0, 1),
        )
        more: Tensor = self.rivals(slots.flatten(0, 1), of_phrase)
        return more.reshape(b, r, n)

    @torch.no_grad()
    def decode(self, scene: Scene, routes: Sequence[Route]) -> Sequence[Boxes]:
        """Boxes of every route, best first, none below the threshold."""
        if not routes:
            return []
        if "located" not in scene.memo:
            scene.memo["located"] = self.locate([m[None] for m in scene.maps])
        located: Located = scene.memo["located"]
        slots = torch.stack([route.slots for route in routes])
        logits, presence, _ = self.judge(located, slots[None])
        best = logits[0].float().topk(min(CANDIDATES, logits.shape[2]), 1)  # (R, n)
        there = presence[0, :, None].float().sigmoid().pow(PRESENCE)
        asked = there.new_tensor([route.options.threshold for route in routes])[:, None]
        boxes = self._to_original(located, scene.size_hw)[best.indices]
        hopeful = plausible(best.values) & (there >= asked)  # a comparison may lift their score
        alive = (_score(best.values, there) >= asked) | hopeful
        alive &= (boxes[..., 2:] - boxes[..., :2]).amin(-1) > 0
        stay = suppress(boxes, alive, OVERLAP, max(MOST, *(route.options.max_objects for route in routes)))
        values = _score(self._compared(scene, located, slots, (best.values, best.indices), stay & hopeful), there)
        values = torch.where(stay & (values >= asked), values, -1.0).cpu()
        return [_boxes(boxes[r].cpu(), values[r], route.options.max_objects) for r, route in enumerate(routes)]

    def _compared(
        self, scene: Scene, located: Located, slots: Tensor, best: tuple[Tensor, Tensor], stay: Tensor
    ) -> Tensor:
        """The logits of `best` (R, n), logits and locations, after the comparison of those that `stay`."""
        logits, locations = best
        rows = stay.any(1).nonzero()[:, 0]  # phrases without a plausible box are the most of eighty
        if len(rows) == 0:
            return logits
        kept = stay[rows]
        most = int(kept.sum(1).max())
        places, there = (part[:, :most] for part in leading(kept))
        some = Candidates(locations[rows].gather(1, places)[None], logits[rows].gather(1, places)[None], there[None])
        more = self.compare(located, [scene], slots[None, rows], some)[0]
        compared = logits.clone()
        compared[rows] = logits[rows].scatter(1, places, settled(some.logits[0], more, there))
        return compared

    @staticmethod
    def _to_original(located: Located, size_hw: tuple[int, int]) -> Tensor:
        """(L, 4) boxes of the one image, in pixels of the original, clipped to it."""
        (h, w), (view_h, view_w) = size_hw, located.view_hw
        scale = located.boxes.new_tensor([w / view_w, h / view_h] * 2)
        limit = located.boxes.new_tensor([w, h] * 2)
        return torch.minimum((located.boxes[0] * scale).clamp(min=0), limit)

    def prepare(self, options: Mapping[str, Any], initial: Mapping[str, Tensor]) -> None:
        """Loss weights from the config; towers and edges from a NanoDet-Plus head, whose frozen copy is the teacher."""
        self.weights = loss_weights(options)
        if initial:
            teacher = Teacher(initial, self.levels.strides, 4 * BINS)
            teacher.copy_to(self.towers, self.edges)
            teacher.seed(self.prototypes)
            self._teacher = (teacher,)

    @property
    def teacher(self) -> Teacher | None:
        """The frozen initial head, in training only."""
        return self._teacher[0]

    def loss(
        self, scenes: Sequence[Scene], routes: Sequence[Sequence[Route]], targets: Sequence[Sequence[BoxTarget]]
    ) -> Mapping[str, Tensor]:
        """Focal, box and presence losses against the truth, and distillation from the frozen initial head."""
        located = self.locate([torch.stack(maps) for maps in zip(*(scene.maps for scene in scenes), strict=True)])
        return detection_losses(self, located, scenes, routes, targets)


def _score(logits: Tensor, there: Tensor) -> Tensor:
    """(R, n) from the logits of locations and what a phrase's presence makes of it (R, 1)."""
    return logits.sigmoid().pow(1 - PRESENCE) * there


def _boxes(boxes: Tensor, scores: Tensor, limit: int) -> Boxes:
    """The boxes (n, 4) with a score (n,) from 0 on, best first."""
    order = scores.argsort(descending=True, stable=True)[: min(limit, int((scores >= 0).sum()))]
    rows = zip(boxes[order].tolist(), scores[order].tolist(), strict=True)
    return Boxes(
        items=tuple(ScoredBox(box=Box(xyxy=(x0, y0, x1, y1)), score=score) for (x0, y0, x1, y1), score in rows)
    )
