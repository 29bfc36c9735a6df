"""Promises of `chiasm.train.tints`: a tinted cut-out has the colour of its name, shading and edge kept."""

from __future__ import annotations

import colorsys

import pytest
import torch
from chiasm.train.tints import TINTS, tint_row, tinted

HUES = {"red": 0.0, "orange": 0.08, "yellow": 0.15, "green": 0.33, "blue": 0.66, "purple": 0.76}


def painted(name: str) -> tuple[float, float, float]:
    grey = torch.full((1, 3, 4, 4), 0.45)
    colours = tinted(grey, torch.ones(1, 1, 4, 4), torch.tensor([tint_row(name)]))
    red, green, blue = colours[0, :, 0, 0].tolist()
    return red, green, blue


@pytest.mark.parametrize("name", HUES)
def test_a_colour_is_what_its_name_says(name: str) -> None:
    hue, saturation, _ = colorsys.rgb_to_hsv(*painted(name))
    assert min(abs(hue - HUES[name]), 1 - abs(hue - HUES[name])) < 0.06
    assert saturation > 0.5


def test_black_is_dark_and_white_is_light() -> None:
    assert max(painted("black")) < 0.2
    assert min(painted("white")) > 0.6


def test_without_a_tint_nothing_changes_and_nothing_outgrows_its_opacity() -> None:
    torch.manual_seed(0)
    opacity = torch.rand(1, 1, 5, 5)
    colours = torch.rand(1, 3, 5, 5) * opacity
    assert torch.equal(tinted(colours, opacity, torch.tensor([tint_row("")])), colours)
    for name in TINTS:
        assert bool((tinted(colours, opacity, torch.tensor([tint_row(name)])) <= opacity + 1e-6).all())
