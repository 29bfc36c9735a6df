"""Training: slots learn what is asked, pictures are learned from the bank, and wrong keys or weights are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from chiasm_plugins.generation.clarity import Clarity
from chiasm_plugins.generation.features import Features
from chiasm_plugins.generation.kinds import KIND_OF
from chiasm_plugins.generation.losses import naming_loss, training_options
from chiasm_plugins.generation.targets import PictureTarget
from chiasm_plugins.generation.unet import noised, share_out
from chiasm_registry import Route, Scene, TrainingError
from chiasm_registry.contract import SampleObject
from plugins.generation.making import WIDTH, fresh
from torch import Tensor, nn

torch.set_num_threads(1)
SMALL = {"draws": 4, "bank": 8}


def random_weights() -> dict[str, Tensor]:
    """Initial weights of the right names and shapes."""
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in trunk_shapes().items()}


def trunk_shapes() -> dict[str, tuple[int, ...]]:
    """NanoDet-Plus-m's names as far as generation reads them."""
    shapes: dict[str, tuple[int, ...]] = {}

    def conv(name: str, out: int, into: int, kernel: int) -> None:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = (out, into, kernel, kernel), (out,)

    conv("stem", 24, 3, 3)
    for stage, (inputs, outputs, units) in enumerate([(24, 116, 4), (116, 232, 8), (232, 464, 4)], start=2):
        half = outputs // 2
        for k in range(units):
            at = f"stage{stage}.{k}"
            if k == 0:
                conv(f"{at}.branch1.dw", inputs, 1, 3)
                conv(f"{at}.branch1.pw", half, inputs, 1)
            conv(f"{at}.branch2.pw1", half, inputs if k == 0 else half, 1)
            conv(f"{at}.branch2.dw", half, 1, 3)
            conv(f"{at}.branch2.pw2", half, half, 1)
    for level in range(4):
        for k in range(2):
            conv(f"cls_convs.{level}.{k}.dw", 96, 1, 5)
            conv(f"cls_convs.{level}.{k}.pw", 96, 96, 1)
        conv(f"gfl_cls.{level}", 112, 96, 1)
    return shapes


def scene(maps: bool = False) -> Scene:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(3, 448, 448, generator=generator)
    sides = (112, 56, 28, 14, 7)
    seen = tuple(torch.randn(24 if k == 0 else 96, s, s, generator=generator) for k, s in enumerate(sides))
    return Scene((448, 448), (), lambda side: pixels, reference_maps=seen if maps else ())


def asked(phrase: str, seed: int) -> Route:
    slots = torch.randn(4, WIDTH, generator=torch.Generator().manual_seed(seed))
    return Route("generation", phrase, slots, slots)


THINGS = (SampleObject("dog", (50.0, 60.0, 250.0, 220.0)), SampleObject("bus", (260.0, 100.0, 440.0, 300.0)))


@pytest.mark.parametrize("initial", [False, True], ids=["alone", "from a detector"])
def test_every_part_learns(initial: bool) -> None:
    """Each part of the decoder has a gradient; with initial weights there are perceptual terms."""
    torch.manual_seed(0)
    decoder = fresh().train()
    decoder.prepare(SMALL, random_weights() if initial else {})
    targets = [[PictureTarget(("dog",), THINGS, 1.2), PictureTarget((), THINGS, 1.2)]]
    losses = decoder.loss([scene(maps=initial)], [[asked("red dog", 0), asked("unicorn", 1)]], targets)
    names = {"naming", "flow", "detail"} | ({"perceptual", "texture"} if initial else set())
    assert losses.keys() == names
    assert all(loss.isfinite() and loss.ndim == 0 for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    for part in (decoder.ask, decoder.kinds, decoder.draft, decoder.enlarger.leave):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())
    assert decoder.bank.filled == 2


def test_slots_alone_can_learn() -> None:
    """`draws` 0: nothing is cut and nothing drawn, whatever the scene."""
    decoder = fresh()
    decoder.prepare({"draws": 0}, {})
    target = PictureTarget(("dog",), THINGS)
    assert decoder.loss([scene()], [[asked("dog", 0)]], [[target]]).keys() == {"naming"}


def test_slots_learn_the_kind_and_the_colour() -> None:
    torch.manual_seed(0)
    decoder = fresh()
    routes = [asked(phrase, k) for k, phrase in enumerate(("red dog", "bus", "blue bus", "wug"))]
    meanings = (("dog",), ("bus",), ("bus",), ())
    slots = torch.stack([route.slots for route in routes])
    optimizer = torch.optim.Adam(decoder.ask.parameters(), lr=0.01)
    for _ in range(60):
        loss = naming_loss(decoder.read(slots), meanings, [route.phrase for route in routes])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    kinds, colours = decoder.read(slots)
    assert kinds.argmax(1).tolist() == [KIND_OF["dog"], KIND_OF["bus"], KIND_OF["bus"], 80]
    assert colours.argmax(1).tolist() == [3, 11, 7, 11]


def test_a_word_for_several_kinds_shares_the_probability_out() -> None:
    kinds = torch.zeros(1, 81, requires_grad=True)
    naming_loss((kinds, torch.zeros(1, 12)), [("dog", "cat")], ["animal"]).backward()  # type: ignore[no-untyped-call]
    assert kinds.grad is not None
    wanted = (kinds.grad[0] < 0).nonzero().flatten().tolist()
    assert wanted == sorted([KIND_OF["dog"], KIND_OF["cat"]])


def test_the_network_sees_and_answers_values_of_one_size() -> None:
    """At all times, for pictures of the deviation it is made for; at the end the picture is kept as it is."""
    torch.manual_seed(0)
    clean = torch.randn(7, 3, 64, 64) * 0.5
    time = torch.linspace(0, 1, 7)
    noisy = noised(clean, torch.randn_like(clean), time)
    keep, add, scale = share_out(time)
    torch.testing.assert_close((noisy * scale).std((1, 2, 3)), torch.ones(7), atol=0.05, rtol=0)
    answer = ((clean - keep * noisy) / add)[:-1]
    torch.testing.assert_close(answer.std((1, 2, 3)), torch.ones(6), atol=0.05, rtol=0)
    assert (keep[-1].item(), add[-1].item()) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("options", "says"),
    [({"flows": 1}, "key flows is unknown"), ({"flow": -1}, "from 0 on"), ({"draws": "many"}, "it must be a number")],
)
def test_wrong_keys_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        training_options(options)


def test_other_initial_weights_are_refused() -> None:
    wrong = random_weights()
    del wrong["stem.bias"]
    with pytest.raises(TrainingError, match="no trunk of NanoDet-Plus-m"):
        fresh().prepare({}, wrong)


def test_pictures_are_as_far_apart_as_they_look() -> None:
    """A picture is at no distance from itself, and farther from another than from itself with a little noise."""
    torch.manual_seed(0)
    features = Features(random_weights())
    one, other = torch.rand(2, 1, 3, 64, 64) * 2 - 1
    same, near, far = (features.distance(one, x).item() for x in (one, one + 0.02 * torch.randn_like(one), other))
    assert same == pytest.approx(0, abs=1e-6)
    assert near < far


def test_nothing_of_training_is_saved() -> None:
    decoder = fresh()
    names = set(decoder.state_dict())
    decoder.prepare(SMALL, random_weights())
    decoder.harvest([scene(maps=True)], [[PictureTarget((), THINGS)]])
    assert set(decoder.state_dict()) == names
    assert not any(isinstance(module, (Features, Clarity)) for module in nn.Module.modules(decoder))


def test_a_thing_is_clear_where_its_own_kind_is_seen_best() -> None:
    """Of two boxes with the same score of their own kind, the one that shows more of another is less clear."""
    clarity = Clarity(random_weights())
    with torch.no_grad():
        for parameter in clarity.parameters():
            parameter.zero_()
        for tower in clarity.towers:
            tower.kinds.bias.fill_(-9.0)  # type: ignore[union-attr,operator]
            tower.kinds.bias[KIND_OF["dog"]] = 0.0  # type: ignore[index,operator,union-attr]
            tower.kinds.bias[KIND_OF["cat"]] = -1.0  # type: ignore[index,operator,union-attr]
    maps = [torch.zeros(1, 96, side, side) for side in (56, 28, 14, 7)]
    box = torch.tensor([[100.0, 100.0, 300.0, 300.0]] * 2)
    dog, cat = clarity(maps, torch.zeros(2).long(), box, torch.tensor([KIND_OF["dog"], KIND_OF["cat"]])).tolist()
    assert dog == pytest.approx(0.5)
    assert cat == pytest.approx(0.2689**2 / 0.5, abs=1e-3)
