"""Colours are read from words and measured on pixels by the same names."""

from __future__ import annotations

import pytest
import torch
from chiasm_plugins.generation.kinds import (
    COLOURS,
    UNSAID,
    colour_classes,
    colour_of,
    colour_shares,
    middle,
    prevailing,
)

SAID = {
    "red bus": "red",
    "a Red bus": "red",
    "grey horses": "grey",
    "gray horse": "grey",
    "black and white cow": "black",
    "big tan dog": "brown",
    "golden clock": "yellow",
}
SEEN = {
    (220, 30, 30): "red",
    (240, 130, 20): "orange",
    (240, 220, 30): "yellow",
    (40, 160, 60): "green",
    (30, 80, 200): "blue",
    (130, 40, 180): "purple",
    (240, 130, 190): "pink",
    (110, 70, 40): "brown",
    (10, 10, 12): "black",
    (250, 250, 245): "white",
    (128, 128, 128): "grey",
}


@pytest.mark.parametrize(("phrase", "colour"), SAID.items())
def test_a_colour_is_read_from_words(phrase: str, colour: str) -> None:
    assert COLOURS[colour_of(phrase)] == colour


@pytest.mark.parametrize("phrase", ["bus", "orange", "an orange", "", "redder bus", "hundred dogs"])
def test_no_colour_is_read_where_none_is(phrase: str) -> None:
    assert colour_of(phrase) == UNSAID


@pytest.mark.parametrize(("rgb", "colour"), SEEN.items())
def test_a_colour_is_seen_in_pixels(rgb: tuple[int, int, int], colour: str) -> None:
    pixels = (torch.tensor(rgb) / 255).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert {COLOURS[k] for k in colour_classes(pixels).flatten().tolist()} == {colour}


def test_what_fills_the_middle_prevails() -> None:
    """A red disc on green is red; stripes of many colours are none."""
    side = 32
    disc = middle(side, torch.device("cpu"), (0.3, 0.3)).bool()
    red, green = torch.tensor([0.9, 0.1, 0.1]), torch.tensor([0.1, 0.7, 0.2])
    picture = torch.where(disc, red.view(3, 1, 1), green.view(3, 1, 1))
    region = middle(side, torch.device("cpu"))[None]
    shares = colour_shares(picture[None], region)
    assert shares.sum().item() == pytest.approx(1.0, abs=1e-5)
    assert COLOURS[int(prevailing(shares)[0])] == "red"
    rainbow = torch.tensor(list(SEEN)).float().div(255).repeat(3, 1)[:side].T[:, :, None].expand(3, side, side)
    assert int(prevailing(colour_shares(rainbow[None], region))[0]) == UNSAID
