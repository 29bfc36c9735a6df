"""Colours that people with any colour vision can tell apart, and the text colour that is legible on each.

The first seven are Okabe and Ito's palette (Color Universal Design, 2008); the others follow Paul Tol's "muted" and
"light" schemes (Colour Schemes, SRON 2021), ordered so that neighbours differ in lightness too.
Blue comes first because most photographs are warm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Colour = tuple[int, int, int]

PALETTE: tuple[Colour, ...] = (
    (86, 180, 233),
    (230, 159, 0),
    (213, 94, 0),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (204, 121, 167),
    (136, 34, 85),
    (170, 170, 0),
    (68, 187, 153),
    (51, 34, 136),
    (255, 170, 187),
    (17, 119, 51),
    (238, 221, 136),
    (170, 68, 153),
    (153, 221, 255),
)

WHITE: Colour = (255, 255, 255)
INK: Colour = (24, 24, 28)


def colours_by_label(asked: Sequence[str], drawn: Sequence[str]) -> Mapping[str, Colour]:
    """A colour for every drawn label, by its place in the order asked, so that a set of pictures agrees.

    When more was asked than there are colours, the place among the drawn labels counts: distinct here comes first.
    """
    order = list(dict.fromkeys([*asked, *drawn]))
    if len(order) > len(PALETTE):
        order = [label for label in order if label in set(drawn)]
    return {label: PALETTE[place % len(PALETTE)] for place, label in enumerate(order)}


def text_on(colour: Colour) -> Colour:
    """Dark or white, whichever has the higher contrast on `colour` (WCAG 2.2)."""
    light = _luminance(colour) + 0.05
    return WHITE if 1.05 / light > light / (_luminance(INK) + 0.05) else INK


def _luminance(colour: Colour) -> float:
    linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
