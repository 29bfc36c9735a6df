"""Plain colours that a cut-out is given, so that words for them are surely true."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

# red, green and blue of what is of middle brightness, then how much is added everywhere; told apart by a person at once
TINTS: dict[str, tuple[float, float, float, float]] = {
    "red": (1.9, 0.25, 0.2, 0.0),
    "green": (0.35, 1.6, 0.35, 0.0),
    "blue": (0.3, 0.55, 2.0, 0.0),
    "yellow": (1.75, 1.55, 0.2, 0.0),
    "orange": (2.0, 1.0, 0.15, 0.0),
    "purple": (1.15, 0.4, 1.6, 0.0),
    "pink": (1.5, 0.8, 1.15, 0.1),
    "brown": (0.95, 0.6, 0.3, 0.0),
    "black": (0.2, 0.2, 0.2, 0.0),
    "white": (0.5, 0.5, 0.5, 0.45),
}
STRENGTH = 0.88  # the rest is the cut-out's own colours


def tint_row(name: str) -> tuple[float, ...]:
    """Five numbers for `tinted`; "" leaves everything as it is."""
    return (*TINTS[name], STRENGTH) if name else (0.0,) * 5


def tinted(colours: Tensor, opacity: Tensor, rows: Tensor) -> Tensor:
    """(K, 3, h, w) colours, multiplied by their opacity (K, 1, h, w), in the tints of `rows` (K, 5)."""
    scale, lift, strength = (rows[:, part, None, None] for part in (slice(0, 3), slice(3, 4), slice(4, 5)))
    plain = (colours.mean(1, keepdim=True) * scale + lift * opacity).minimum(opacity)
    mixed: Tensor = colours + strength * (plain - colours)
    return mixed
