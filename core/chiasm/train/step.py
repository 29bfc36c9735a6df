"""One training step as a module: a collated batch in, named losses out. Language and decoders learn together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from typing import Any, cast

import torch
import torch.nn.functional as F
from chiasm_registry import Route, Scene, TrainingError
from chiasm_registry.contract import TrainableDecoder
from chiasm_registry.errors import shown
from torch import Tensor, nn
from transformers import DynamicCache

from ..images import IMAGENET_MEAN, IMAGENET_STD
from ..routing.network import Network
from ..routing.sequence import Markers, branch_mask, branch_positions
from .batch import Nested
from .items import NO_LABEL, blamed_on
from .photos import PhotoStore
from .render import render


class Pictures:
    """The photographs and cut-outs of a run, moved to the device when the first batch comes."""

    def __init__(self, store: PhotoStore, cutouts: Tensor | None) -> None:
        self.store, self.cutouts = store, cutouts

    def views(self, view: Mapping[str, Any], size: int) -> Tensor:
        """(B, 3, size, size) in 0..1 on the device of `view`."""
        device = view["colours"].device
        if self.store.device != device:
            self.store.to(device)
            self.cutouts = None if self.cutouts is None else self.cutouts.to(device)
        photos, index = self.store.batch(view["tile_photo"])
        return render(photos, self.cutouts, {**view, "tile_photo": index}, size)


class Step(nn.Module):
    """`network` with everything that is only needed to train it.

    `dropout` is on word embeddings; `text_weight` scales the language loss; `reference` is the frozen initial trunk;
    beside the task `alone`, if there is one, everything is as it is in use.
    """

    def __init__(
        self,
        network: Network,
        markers: Markers,
        pictures: Pictures,
        *,
        dropout: float = 0.1,
        text_weight: float = 1.0,
        reference: nn.Module | None = None,
        alone: str | None = None,
    ) -> None:
        super().__init__()
        self.network, self.markers, self.pictures = network, markers, pictures
        self.dropout, self.text_weight = nn.Dropout(dropout), text_weight
        self._alone = alone
        self._reference = (reference,)  # in a tuple: not a part of the module, neither trained nor saved
        own = network.backbone.trunk_parameters()
        self._starts_alike = reference is not None and _equal(own, reference.parameters())

    def forward(
        self,
        view: Mapping[str, Any] | None,
        tokens: Tensor,
        branch: Tensor,
        parent: Tensor,
        labels: Tensor,
        nested: Nested,
        asked: Tensor | None = None,
        ids: Sequence[str] = (),
    ) -> dict[str, Tensor]:
        """Named losses of a batch of `collate`: `loss`, `loss/text`, `loss/<task>/<name>`; `ids` name the samples."""
        network = self.network
        if view is None:
            hidden = self._speak(tokens, branch, parent, None)
            losses = {"loss/text": self._text_loss(hidden, labels, self._heard(tokens, branch, parent, labels, asked))}
        else:
            pixels, tiles = self._tiles(view)
            seen = network.backbone.see(tiles)
            hidden = self._speak(tokens, branch, parent, seen.tokens.flatten(0, 1))
            heard = self._heard(tokens, branch, parent, labels, asked)
            losses = {"loss/text": self._text_loss(hidden, labels, heard)} if self._language_learns(labels) else {}
            scenes = self._scenes(pixels, tiles, seen.maps)
            for name in nested.targets:  # the tasks that learn
                losses.update(self._task_losses(name, scenes, tokens, hidden, nested))
        # a batch may ask for nothing
        parts = [loss.float() for loss in losses.values()] or [0.0 * hidden.float().sum()]
        return {"loss": torch.stack(parts).sum(), **losses}

    def train(self, mode: bool = True) -> Step:
        """Training behaviour for what learns; a core that others rely on neither drops out nor counts along."""
        super().train(mode)
        if self._alone is not None:
            self.network.backbone_module.eval()
        return self

    @torch.no_grad()
    def _tiles(self, view: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) in 0..1, and the same normalised."""
        pixels = self.pictures.views(view, self.network.backbone.tile)
        mean, std = (pixels.new_tensor(stat).view(1, 3, 1, 1) for stat in (IMAGENET_MEAN, IMAGENET_STD))
        return pixels, (pixels - mean) / std

    def _speak(self, tokens: Tensor, branch: Tensor, parent: Tensor, image_tokens: Tensor | None) -> Tensor:
        embeds = self.dropout(self.network.embed(tokens, self.markers.image, image_tokens))
        positions, speak = branch_positions(branch, parent=parent), self.network.backbone.speak
        known = 0 if self._prefix_learns() else int((branch == 0).all(0).sum())
        if known == 0:
            return speak(embeds, branch_mask(branch, None, embeds.dtype, parent=parent), positions, None)
        cache = DynamicCache()
        with torch.no_grad():  # what nothing that learns comes into
            first = speak(embeds[:, :known], None, positions[:, :known], cache)
        mask = branch_mask(branch[:, known:], branch[:, :known], embeds.dtype, parent=parent[:, known:])
        return torch.cat([first, speak(embeds[:, known:], mask, positions[:, known:], cache)], 1)

    def _prefix_learns(self) -> bool:
        """Whether the states of an image and of what stands before it depend on anything that is trained."""
        return any(p.requires_grad for p in self.network.backbone_module.parameters())

    def _language_learns(self, labels: Tensor) -> bool:
        """Where decoders alone learn, words have no loss: nothing could follow it, and there may be no answers."""
        if self._alone is None and any(p.requires_grad for p in self.network.backbone_module.parameters()):
            return True
        return self.network.rows.learn() and bool((labels != NO_LABEL).any())

    def _text_loss(self, hidden: Tensor, labels: Tensor, heard: Tensor | None) -> Tensor:
        """Cross-entropy of the answers' tokens, routing tokens included; `heard` (tokens, tasks) helps these."""
        learned = labels != NO_LABEL
        if not learned.any():  # guided phrases alone have no words to learn
            return 0.0 * hidden.float().sum()
        logits = self.network.logits(hidden[learned], heard)
        return self.text_weight * F.cross_entropy(logits.float(), labels[learned])

    def _heard(
        self, tokens: Tensor, branch: Tensor, parent: Tensor, labels: Tensor, asked: Tensor | None
    ) -> Tensor | None:
        """What the request of each learned token says: the words of the prefix and of its own branch."""
        learned = labels != NO_LABEL
        if asked is None or not self.network.rows.listen() or not bool(learned.any()):
            return None
        row, _ = learned.nonzero(as_tuple=True)
        own, of_prefix = branch[learned][:, None], (parent[learned] >= 0)[:, None]
        mine = asked[row] & ((branch[row] == own) | ((branch[row] == 0) & of_prefix))
        words = self.network.backbone.embed(tokens.clamp(max=self.network.rows.base - 1))
        listen, speak = self.network.rows.votes(words)
        return self.network.rows.heard((listen[row], speak[row]), mine)

    def _scenes(self, pixels: Tensor, tiles: Tensor, maps: tuple[Tensor, ...]) -> list[Scene]:
        reference = self._reference_maps(tiles, maps)
        size = tuple(pixels.shape[-2:])
        return [
            Scene(
                size_hw=cast("tuple[int, int]", size),
                maps=tuple(m[k] for m in maps),
                view=lambda side, k=k: _resized(pixels[k], side),  # type: ignore[misc]  # k is bound now, not later
                reference_maps=tuple(m[k] for m in reference),
            )
            for k in range(len(pixels))
        ]

    @torch.no_grad()
    def _reference_maps(self, tiles: Tensor, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The frozen initial trunk's maps; those of the model itself as long as its trunk is frozen as that one."""
        frozen = self._reference[0]
        if frozen is None:
            return ()
        if self._starts_alike and not any(p.requires_grad for p in self.network.backbone.trunk_parameters()):
            return maps
        reference: tuple[Tensor, ...] = frozen.to(tiles.device)(tiles)
        return reference

    def _task_losses(
        self, name: str, scenes: list[Scene], tokens: Tensor, hidden: Tensor, nested: Nested
    ) -> dict[str, Tensor]:
        """The task's own losses on the images that have routes of it of which the truth is known."""
        phrases, targets, judged = nested.phrases[name], nested.targets[name], nested.judged[name]
        counts = [len(p) for p in phrases]
        if not sum(counts):
            return {}
        said = torch.split(self.network.slots(tokens, hidden, name), [len(known) for known in judged])
        slots = [[*compress(part.unbind(0), known)] for part, known in zip(said, judged, strict=True)]
        vectors = self.network.rows.row(name).vectors
        used = [k for k, count in enumerate(counts) if count]
        routes = [
            [Route(task=name, phrase=p, slots=slots[k][r], embeddings=vectors) for r, p in enumerate(phrases[k])]
            for k in used
        ]
        decoder = cast(TrainableDecoder, self.network.decoders[name])
        with blamed_on(name, "loss"):
            losses = dict(decoder.loss([scenes[k] for k in used], routes, [targets[k] for k in used]))
        for part, loss in losses.items():
            if not isinstance(loss, Tensor) or loss.dim():
                found = f"a tensor {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
                fact = f"the loss {shown(part, 30)} is {found}; give a tensor of one number, as loss.mean() is"
                raise TrainingError(f"task {name!r} cannot be trained: {fact}")
        return {f"loss/{name}/{part}": loss for part, loss in losses.items()}


def _equal(one: Iterable[Tensor], other: Iterable[Tensor]) -> bool:
    """Whether all numbers are the same; a model trained before has another trunk than the initial weights."""
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def _resized(pixels: Tensor, side: int) -> Tensor:
    if pixels.shape[-1] == side:
        return pixels
    return F.interpolate(pixels[None], size=(side, side), mode="bilinear", align_corners=False, antialias=True)[0]
