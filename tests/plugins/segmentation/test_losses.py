"""Promises of the losses: a right mask costs less than a wrong one, boxes alone teach, and overfitting is possible."""

from __future__ import annotations

import pytest
import torch
from chiasm_plugins.segmentation.decoder import SegmentationDecoder
from chiasm_plugins.segmentation.losses import LossWeights, _boxed_losses, _known_losses, loss_weights
from chiasm_plugins.segmentation.prompting import draw_prompts
from chiasm_plugins.segmentation.targets import mask_targets
from chiasm_registry import TrainingError
from plugins.segmentation.masking import CORE, VIEW, disc, route, sample, scene


def test_the_right_mask_costs_nothing_and_a_wrong_one_much() -> None:
    truth = torch.from_numpy(disc(32, 32, 12)).float()[None]
    right = (truth * 40 - 20)[:, None].expand(-1, 4, -1, -1)
    known, quality = torch.ones(1), torch.ones(1, 4)
    good = _known_losses(right, quality, truth, known, LossWeights())
    bad = _known_losses(-right, quality, truth, known, LossWeights())
    assert sum(float(loss) for loss in good.values()) < 0.02
    assert all(bad[name] > good[name] + 0.3 for name in good)


def test_prompts_without_a_mask_do_not_count_there() -> None:
    logits, truth = torch.randn(2, 4, 8, 8), torch.zeros(2, 8, 8)
    one = _known_losses(logits, torch.zeros(2, 4), truth, torch.tensor([1.0, 0.0]), LossWeights())
    alone = _known_losses(logits[:1], torch.zeros(1, 4), truth[:1], torch.ones(1), LossWeights())
    assert all(torch.allclose(one[name], alone[name]) for name in one)


def test_a_box_alone_wants_its_edges_touched_and_nothing_outside() -> None:
    torch.manual_seed(3)
    targets = [mask_targets(sample([None], ((0,),)))]
    drawn = draw_prompts(targets, 4, 1, VIEW)
    places = torch.linspace(0, 1, 28)
    x0, y0, x1, y1 = drawn.regions[0, 0].tolist()
    x, y = x0 + places * (x1 - x0), y0 + places * (y1 - y0)
    inside = ((x > 8) & (x < 40))[None, :] & ((y > 8) & (y < 40))[:, None]
    right = (inside.float() * 20 - 10)[None]
    pixels = torch.zeros(1, 3, VIEW, VIEW)
    fits = _boxed_losses(right, drawn, pixels, LossWeights())["box"]
    assert fits < 0.3 * _boxed_losses(-right, drawn, pixels, LossWeights())["box"]
    assert fits < 0.5 * _boxed_losses(torch.full_like(right, 9.0), drawn, pixels, LossWeights())["box"]


def test_the_config_may_set_weights_and_nothing_else() -> None:
    assert loss_weights({"dice": 3, "prompts": 4}).prompts == 4
    for options in ({"size": 1}, {"dice": -1}, {"prompts": 1.5}, {"cover": float("inf")}):
        with pytest.raises(TrainingError, match=r"tasks\.segmentation: key"):
            loss_weights(options)


@pytest.mark.slow
def test_two_discs_can_be_learned_by_heart() -> None:
    torch.manual_seed(0)
    head = SegmentationDecoder(CORE)
    head.prepare({"prompts": 4}, {})
    targets = mask_targets(sample([disc(20, 20, 10), disc(45, 40, 14)], ((0,), (1,))))
    scenes, routes = [scene()], [[route("a", 1), route("b", 2)]]
    optimizer = torch.optim.AdamW(head.parameters(), lr=2e-3)
    first = last = 0.0
    for step in range(25):
        losses = head.loss(scenes, routes, [targets])
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        first, last = (float(total.detach()), last) if step == 0 else (first, float(total.detach()))
    assert last < 0.75 * first


def test_every_weight_that_takes_part_has_a_gradient() -> None:
    torch.manual_seed(1)
    head = SegmentationDecoder(CORE)
    targets = mask_targets(sample([disc(20, 20, 10), None], ((0,), (1,))))
    for _ in range(3):  # the prompts are drawn: each kind comes in one of a few steps
        torch.stack(list(head.loss([scene()], [[route("a"), route("b")]], [targets]).values())).sum().backward()
    still = [name for name, p in head.named_parameters() if p.requires_grad and p.grad is None]
    assert not [name for name in still if "point_embeddings" not in name]
