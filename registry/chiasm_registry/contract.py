"""What core hands to a decoder and what it wants back. Tensors appear as types only: importing this loads no torch.

Shape letters, here and in every decoder:
    B images   R routes of one image   K slots of a route (its task's embeddings)   D width of the language model
    C channels   h, w rows and columns of a feature map   L locations of all maps together
Frames: maps and `Scene.pixels` see the whole image stretched to a square view; a location (row, column) of a map
stands at pixel (column * stride, row * stride) of that view. Everything that leaves a decoder is in pixels of the
upright original image, `Scene.size_hw`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from .geometry import Mask
    from .outputs import Output


@dataclass(frozen=True)
class MapInfo:
    """One feature map of a scene, before any image is seen."""

    channels: int
    stride: int  # pixels of the view between two neighbouring locations


@dataclass(frozen=True)
class CoreInfo:
    """What a decoder is built from: the size of its inputs, nothing of the model itself."""

    width: int  # D
    maps: tuple[MapInfo, ...]  # fine to coarse
    dtype: torch.dtype


@dataclass(frozen=True, eq=False)
class Scene:
    """One image as the core saw it; for a task with `needs_image=False` the maps are `()`."""

    size_hw: tuple[int, int]  # of the upright original, pixels
    maps: tuple[Tensor, ...]  # (C, h, w) each, fine to coarse
    view: Callable[[int], Tensor]
    memo: dict[str, Any] = field(default_factory=dict)  # a task's own, for what is computed once an image
    reference_maps: tuple[Tensor, ...] = ()  # in training with distillation: the maps of the frozen initial model

    def pixels(self, size: int) -> Tensor:
        """(3, size, size) float, RGB in 0..1: the whole image stretched to a square."""
        return self.view(size)


@dataclass(frozen=True, eq=False)
class Route:
    """One thing the model decided to say: a phrase, and the slots behind the task's token."""

    task: str
    phrase: str
    slots: Tensor  # (K, D) hidden states at the task's embeddings
    embeddings: Tensor  # (K, D) the task's embeddings that were fed there
    span: tuple[int, int] | None = None  # of the phrase in the result's text, characters
    image: int = 0  # index among the request's images
    boxes: tuple[tuple[float, float, float, float], ...] = ()  # prompts of the caller, xyxy pixels of the original
    points: tuple[tuple[float, float, int], ...] = ()  # prompts of the caller: x, y, label (1 in, 0 out)
    earlier: tuple[Output, ...] = ()  # outputs of the tasks in `after` for this phrase
    options: Any = None  # an instance of the task's options schema


@dataclass(frozen=True)
class SampleObject:
    """One annotated thing of a training image."""

    name: str
    box_xyxy: tuple[float, float, float, float]  # pixels of `Sample.size_hw`
    crowd: bool = False  # a group: neither positive nor negative
    mask: Mask | None = None


@dataclass(frozen=True)
class Sample:
    """An annotated image with the phrases asked of it, as a task's `targets` sees it."""

    image_id: str
    size_hw: tuple[int, int]
    objects: tuple[SampleObject, ...]
    phrases: tuple[str, ...]
    matches: tuple[tuple[int, ...], ...]  # for each phrase the indices of the objects it means
    meanings: tuple[
        tuple[str, ...], ...
    ] = ()  # for each phrase the category names it stands for; () for an unknown word
    stretch: float = 1.0  # how many times wider than high a square of `size_hw` is in the photograph it shows
    draw: Callable[[int], NDArray[np.bool_] | None] | None = None  # see `mask`
    singled: tuple[bool, ...] = ()  # for each phrase whether it points to one thing ("the red bus"); () if none does

    def mask(self, index: int) -> NDArray[np.bool_] | None:
        """(h, w) bool: what is seen of the object at `index`; None where no mask is known.

        Masks of a training image are drawn when they are asked for, so that a task without masks does not pay for them.
        """
        known = self.objects[index].mask
        if known is not None:
            return known.numpy()
        return self.draw(index) if self.draw is not None else None


@runtime_checkable
class Decoder(Protocol):
    """An `nn.Module` that turns a scene and its routes into outputs.

    A decoder with variants of several sizes may have `grow(tensors)`: it is called with the stored tensors by name
    before they are filled in, and may change its modules to theirs.
    """

    def decode(self, scene: Scene, routes: Sequence[Route]) -> Sequence[Output]:
        """One output a route, in order; an empty one where nothing is there."""
        ...


class TrainableDecoder(Decoder, Protocol):
    """A decoder that can be trained: `targets` come from `Task.targets`, nested as the routes are."""

    def prepare(self, options: Mapping[str, Any], initial: Mapping[str, Tensor]) -> None:
        """Called once before training: the task's part of the config, and initial weights (may be empty)."""

    def loss(
        self, scenes: Sequence[Scene], routes: Sequence[Sequence[Route]], targets: Sequence[Sequence[Any]]
    ) -> Mapping[str, Tensor]:
        """Named scalar losses, already weighted; core adds them up and logs each."""
        ...


class Metric(Protocol):
    """Scores a task's outputs over a data set."""

    def update(self, outputs: Sequence[Output], targets: Sequence[Any]) -> None: ...

    def compute(self) -> Mapping[str, float]: ...


class Canvas(Protocol):
    """What a task may draw on; coordinates are pixels of the original image."""

    def box(self, xyxy: tuple[float, float, float, float], label: str) -> None: ...

    def mask(self, mask: Mask, label: str) -> None: ...

    def point(self, x: float, y: float, label: str) -> None: ...

    def text(self, x: float, y: float, text: str) -> None: ...

    def heat(self, values: Sequence[Sequence[float]], label: str) -> None:
        """Rows of a grid that lies over the whole image; 0 is not seen, the largest value is strongest."""
