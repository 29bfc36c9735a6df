"""The decoder: one seed is one picture in any company; what the slots leave open the seed decides."""

from __future__ import annotations

import torch
from chiasm_plugins.generation.kinds import KIND_OF, OTHER
from chiasm_plugins.generation.sample import times
from pace import fastest
from plugins.generation.making import artist, blind, fresh, route

torch.set_num_threads(1)


def test_one_seed_is_one_picture_in_any_company() -> None:
    """Alone, with others before and behind it: the same bytes; another seed or other words are another picture."""
    wanted = route(seed=3, steps=3)
    other = route("cat", slots=wanted.slots.roll(1, 0) * 2, seed=4, steps=3)
    (alone,) = artist().decode(blind(), [wanted])
    among = artist().decode(blind(), [other, wanted, other])
    assert among[1].png == alone.png
    assert among[0].png == among[2].png != alone.png
    torch.manual_seed(99)  # the process's own random state has no part in it
    assert artist().decode(blind(), [wanted])[0].png == alone.png


def test_options_change_the_picture() -> None:
    made = [
        artist().decode(blind(), [route(**options)])[0].png
        for options in ({"steps": 2}, {"steps": 3}, {"steps": 2, "guidance": 6.0}, {"steps": 2, "guidance": 1.0})
    ]
    assert len(set(made)) == 4


def test_what_is_open_the_seed_decides() -> None:
    """A sure kind is drawn whatever the seed; of two likely ones each in its turn, and never the unknown."""
    decoder = fresh()
    with torch.no_grad():
        decoder.ask[-1].weight.zero_()
        bias = decoder.ask[-1].bias
        bias.fill_(-20.0)
        bias[[KIND_OF["dog"], KIND_OF["cat"]]] = 0.0
        bias[OTHER] = -0.5
        slots = route().slots
        found = {decoder._chosen(slots, torch.Generator().manual_seed(seed))[0] for seed in range(20)}
        assert found == {KIND_OF["dog"], KIND_OF["cat"]}
        bias[KIND_OF["dog"]] = 9.0
        found = {decoder._chosen(slots, torch.Generator().manual_seed(seed))[0] for seed in range(20)}
        assert found == {KIND_OF["dog"]}


def test_weights_of_half_precision_draw_nearly_the_same() -> None:
    """Steps add up in full precision: a pixel differs by a few of 255."""
    import numpy as np

    asked = route(steps=6)
    (whole,) = artist().decode(blind(), [asked])
    half = fresh().to(torch.bfloat16)
    slots = asked.slots.to(torch.bfloat16)
    (rough,) = half.decode(blind(), [route(slots=slots, steps=6)])
    one, other = (np.asarray(picture.image, dtype=float) for picture in (whole, rough))
    assert abs(one - other).mean() < 4


def test_it_fits_its_budget() -> None:
    """At most 4.0 M parameters at nano's width."""
    from chiasm_plugins.generation.decoder import GenerationDecoder
    from chiasm_registry import CoreInfo

    decoder = GenerationDecoder(CoreInfo(256, (), torch.float32))
    assert sum(parameter.numel() for parameter in decoder.parameters()) <= 4_000_000


def test_steps_go_from_noise_to_picture() -> None:
    for steps in (1, 2, 20):
        found = times(steps)
        assert (found[0], found[-1], len(found)) == (0.0, 1.0, steps + 1)
        assert found == sorted(set(found))


def test_a_picture_is_drawn_in_seconds() -> None:
    assert fastest(lambda: artist().decode(blind(), [route()]), times=2) < 4
