"""The little that core needs of a vision-language model. A new design is one file that fulfils `Backbone`.

Shape letters: T tiles   S side of a tile in pixels   N image tokens of a tile   D width   B rows   L positions
V base vocabulary   C, h, w channels, rows and columns of a feature map   M tokens of an image   A axes of positions
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from chiasm_registry import CoreInfo
from torch import Tensor, nn

if TYPE_CHECKING:
    from PIL import Image

    from .eye import Cut, Sight


class Seen(NamedTuple):
    """What the eye made of some tiles."""

    tokens: Tensor  # (T, N, D), ready to stand among word embeddings
    maps: tuple[Tensor, ...]  # (T, C, h, w) each, fine to coarse


class Backbone(Protocol):
    """An `nn.Module` that sees images and continues embeddings.

    `cut` and `look` are how images are seen; `see` is the same for plain square views, with which tasks are trained.
    `backbone/eye.py` has them for designs that see tiles, `backbone/language.py` the speaking half.
    """

    info: CoreInfo
    tile: int  # S
    max_tiles: int  # the most of one image
    tokens_per_tile: int  # N, of a plain view
    vocabulary: int  # V, rows of the input embedding
    positions: int  # of one sequence, the most it was built for
    steady: int  # up to this length nothing that stands beside a text in a pass changes its positions' encoding

    def cut(self, image: Image.Image) -> Cut:
        """An upright RGB image as the eye takes it."""
        ...

    def look(self, cuts: Sequence[Cut]) -> list[Sight]:
        """What the eye saw of some images; each for itself, whatever stands beside it."""
        ...

    def see(self, tiles: Tensor) -> Seen:
        """Tiles (T, 3, S, S), ImageNet-normalised RGB, to image tokens and feature maps."""
        ...

    def embed(self, ids: Tensor) -> Tensor:
        """(B, L) ids below V to (B, L, D)."""
        ...

    def speak(self, embeds: Tensor, mask: Tensor | None, positions: Tensor, cache: Any | None) -> Tensor:
        """(B, L, D) embeddings to (B, L, D) hidden states after the final norm.

        `mask` is additive, (B, 1, L, past + L), or None for plain causal attention without padding; `positions` is
        (B, L), or (A, B, L) where a `Sight` has places; `cache` is a transformers cache that is extended in place.
        """
        ...

    def head(self, hidden: Tensor) -> Tensor:
        """(..., D) hidden states to (..., V) logits."""
        ...

    def matrices(self) -> tuple[Tensor, Tensor]:
        """The input embedding and the head, (V, D) each; they may be one and the same."""
        ...

    def trunk_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that the scene's maps depend on."""
        ...
