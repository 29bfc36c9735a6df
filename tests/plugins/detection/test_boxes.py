"""Arithmetic on boxes: it is what one would compute by hand, only for many at once."""

from __future__ import annotations

import pytest
import torch
from chiasm_plugins.detection import boxes
from chiasm_plugins.detection.boxes import area, generalized_iou, pairwise_iou, suppress
from hypothesis import given, settings
from hypothesis import strategies as st
from plugins.detection.making import plain_iou, plainly_greedy
from torch import Tensor

torch.set_num_threads(1)


def random_boxes(lists: int, count: int, seed: int, spread: float = 60.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(lists, count, 2, generator=generator) * spread
    halves = torch.rand(lists, count, 2, generator=generator) * 20
    return torch.cat([centres - halves, centres + halves], -1).clamp(0, 70).round(decimals=1)


def test_overlap_is_intersection_over_union() -> None:
    a, b = random_boxes(1, 9, 0)[0], random_boxes(1, 7, 1)[0]
    found = pairwise_iou(a, b)
    wanted = torch.tensor([[plain_iou(p, q) for q in b.tolist()] for p in a.tolist()])
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


def test_overlap_of_many_pairs_of_lists() -> None:
    a, b = random_boxes(3, 5, 0), random_boxes(3, 4, 1)
    assert torch.equal(pairwise_iou(a, b)[2], pairwise_iou(a[2], b[2]))


def test_boxes_without_an_area_overlap_nothing() -> None:
    point = torch.tensor([[5.0, 5.0, 5.0, 5.0], [9.0, 9.0, 3.0, 3.0]])
    assert not pairwise_iou(point, point).any()
    assert area(point).tolist() == [0.0, 0.0]


def test_generalized_overlap_by_hand() -> None:
    """Equal 1, apart below 0: two unit boxes with a gap of one fill two thirds of their hull."""
    a = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    b = torch.tensor([[0.0, 0.0, 1.0, 1.0], [2.0, 0.0, 3.0, 1.0]])
    torch.testing.assert_close(generalized_iou(a, b), torch.tensor([1.0, -1 / 3]))


@settings(max_examples=60, deadline=None, derandomize=True)  # an overlap may tie with the limit but for rounding
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 80),
    block=st.integers(1, 40),
    overlap=st.sampled_from([0.0, 0.30017, 0.60013, 0.90011]),
    most=st.integers(1, 90),
)
def test_suppression_is_the_greedy_rule(seed: int, count: int, block: int, overlap: float, most: int) -> None:
    """For any lists, any holes in them, any size of block: the first `most` that stay are those of the plain loop."""
    lists = random_boxes(3, count, seed, spread=40.0)
    alive = torch.rand(3, count, generator=torch.Generator().manual_seed(seed)) < 0.8
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boxes, "BLOCK", block)
        stay = suppress(lists, alive, overlap, most)
    for k in range(3):
        places = alive[k].nonzero()[:, 0].tolist()
        wanted = [places[i] for i in plainly_greedy([lists[k, p].tolist() for p in places], overlap)]
        assert stay[k].nonzero()[:, 0].tolist()[:most] == wanted[:most]
        assert set(stay[k].nonzero()[:, 0].tolist()) <= set(wanted)


def test_a_chain_is_cut_only_at_every_other_link() -> None:
    """Each overlaps the next: what was suppressed suppresses nothing."""
    chain = torch.tensor([[[4.0 * k, 0.0, 4.0 * k + 10, 10.0] for k in range(9)]])
    stay = suppress(chain, torch.ones(1, 9, dtype=torch.bool), 0.4, 100)
    assert stay[0].nonzero()[:, 0].tolist() == [0, 2, 4, 6, 8]


def test_nothing_alive_leaves_nothing() -> None:
    lists = random_boxes(2, 5, 0)
    assert not suppress(lists, torch.zeros(2, 5, dtype=torch.bool), 0.5, 10).any()
