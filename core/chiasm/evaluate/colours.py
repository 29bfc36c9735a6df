"""Whether a colour that was asked for is in a picture, by its pixels.

The pixels of the ellipse in the middle (half axes 0.35 of the sides) are counted. A hue counts where saturation is at
least 0.3 and value at least 0.25; black is a value below 0.25, white a saturation below 0.2 with a value above 0.75.
The colour is there if a quarter of the pixels have it (black and white: four tenths, as shadows and skies have them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

HUES = {  # degrees, from and to
    "red": (340.0, 18.0),
    "orange": (18.0, 42.0),
    "yellow": (42.0, 70.0),
    "green": (70.0, 165.0),
    "blue": (165.0, 260.0),
}
COLOURS = (*HUES, "black", "white")
HALF_AXIS = 0.35
NEEDED, NEEDED_GREY = 0.25, 0.4


def has_colour(picture: Image.Image, colour: str) -> bool:
    """Whether `colour`, one of `COLOURS`, is there."""
    return colour_share(picture, colour) >= (NEEDED if colour in HUES else NEEDED_GREY)


def colour_share(picture: Image.Image, colour: str) -> float:
    """The share of the pixels in the middle that have it."""
    import numpy as np

    hsv = np.asarray(picture.convert("RGB").convert("HSV"), dtype=np.float32) / 255
    hue, saturation, value = hsv[..., 0] * 360, hsv[..., 1], hsv[..., 2]
    if colour == "black":
        has = value < 0.25
    elif colour == "white":
        has = (saturation < 0.2) & (value > 0.75)
    else:
        low, high = HUES[colour]
        inside = (hue >= low) | (hue < high) if low > high else (hue >= low) & (hue < high)
        has = inside & (saturation >= 0.3) & (value >= 0.25)
    return float(has[_middle(*has.shape)].mean())


def _middle(high: int, wide: int) -> NDArray[np.bool_]:
    import numpy as np

    y = (np.arange(high) + 0.5) / high - 0.5
    x = (np.arange(wide) + 0.5) / wide - 0.5
    inside: NDArray[np.bool_] = (x[None, :] ** 2 + y[:, None] ** 2) <= HALF_AXIS**2
    return inside
