"""Rules on a decoder's file, and on how its answers are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .bench import Bench
from .compare import difference
from .rule import BrokenRuleError

if TYPE_CHECKING:
    from torch import Tensor

    from ..geometry import Mask


class Sheet:
    """A `Canvas` that takes everything and checks that it is drawable."""

    def box(self, xyxy: tuple[float, float, float, float], label: str) -> None:
        """Four numbers and a text."""
        _numbers(xyxy, 4)

    def mask(self, mask: Mask, label: str) -> None:
        """A mask that can be decoded, and a text."""
        mask.numpy()

    def point(self, x: float, y: float, label: str) -> None:
        """Two numbers and a text."""
        _numbers((x, y), 2)

    def text(self, x: float, y: float, text: str) -> None:
        """Two numbers and a text."""
        _numbers((x, y), 2)

    def heat(self, values: Sequence[Sequence[float]], label: str) -> None:
        """Rows of one length, and a text."""
        for row in values:
            _numbers(row, len(values[0]))


def check_saved(bench: Bench) -> None:
    """A decoder filled from another's tensors, by way of a safetensors file, answers as that one."""
    import torch
    from safetensors.torch import load, save

    state = bench.kept.state_dict()
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor):
            raise BrokenRuleError(f"{name} of state_dict() is no tensor")
    stored: dict[str, Tensor] = load(save({name: t.detach().clone().contiguous() for name, t in state.items()}))
    other = bench.decoder(seed=1)
    if callable(getattr(other, "grow", None)):
        other.grow(stored)
    own = other.state_dict()
    if own.keys() != stored.keys() or any(own[name].shape != tensor.shape for name, tensor in stored.items()):
        raise BrokenRuleError("two decoders of one core have tensors of other names or shapes")
    with torch.no_grad():
        for name, tensor in stored.items():
            own[name].copy_(tensor)
    pairs = zip(bench.answers(bench.kept, bench.phrases), bench.answers(other, bench.phrases), strict=True)
    if fault := next((fault for a, b in pairs if (fault := difference(a, b))), None):
        raise BrokenRuleError(f"filled from the tensors of another decoder, {fault}")


def check_drawing(bench: Bench) -> None:
    """`draw` says whether it drew."""
    for answer in bench.answers(bench.kept, bench.phrases):
        drew: Any = bench.task.draw(Sheet(), answer)
        if type(drew) is not bool:
            raise BrokenRuleError(f"draw() returned a {type(drew).__name__}")


def _numbers(values: Sequence[float], count: int) -> None:
    import math

    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise BrokenRuleError(f"draw() draws at a place that is not {count} finite numbers")
