"""Trees of branches: every branch sees what it would see as a sequence of its own, at the same positions."""

from __future__ import annotations

import random

import pytest
import torch
from chiasm.routing.network import Network
from chiasm.routing.sequence import ALONE, Markers, branch_ids, branch_mask, branch_positions
from core.tiny import fakes, tiny_network


@pytest.fixture(scope="module")
def network() -> Network:
    return tiny_network(fakes())


def random_tree(rng: random.Random) -> tuple[list[int], list[int], list[int], list[list[int]]]:
    """Ids, branch numbers, parents, and for each branch the places that it would have as a sequence of its own."""
    ids, branch, parent = [], [], []
    places: list[list[int]] = []
    for number in range(rng.randint(1, 6)):
        # a branch grows from nothing, from the prefix, or from a branch that itself grows from the prefix
        stems = [ALONE, 0, *(k for k in range(1, number) if parent[branch.index(k)] == 0)] if number else [0]
        stem, length = rng.choice(stems), rng.randint(1, 5)
        before = [] if number == 0 or stem == ALONE else list(places[stem])
        places.append([*before, *range(len(ids), len(ids) + length)])
        ids += [rng.randrange(12, 60) for _ in range(length)]
        branch += [number] * length
        parent += [stem] * length
    return ids, branch, parent, places


@pytest.mark.parametrize("seed", range(12))
def test_a_tree_equals_its_branches_as_sequences_of_their_own(network: Network, seed: int) -> None:
    """Two trees of different lengths, padded on the right, in one pass."""
    rng = random.Random(seed)
    trees = [random_tree(rng) for _ in range(2)]
    longest = max(len(tree[0]) for tree in trees)

    def padded(part: int, fill: int) -> torch.Tensor:
        return torch.tensor([[*tree[part], *[fill] * (longest - len(tree[0]))] for tree in trees])  # type: ignore[arg-type,list-item]

    ids, branch, parent = padded(0, 2), padded(1, -1), padded(2, 0)
    embeds = network.embed(ids, -1)
    mask = branch_mask(branch, None, embeds.dtype, parent=parent)
    together = network.backbone.speak(embeds, mask, branch_positions(branch, parent=parent), None)
    assert torch.isfinite(together).all()
    for row, (tokens, _, _, places) in enumerate(trees):
        for place in places:
            alone = network.embed(torch.tensor([[tokens[p] for p in place]]), -1)
            hidden = network.backbone.speak(alone, None, torch.arange(len(place))[None], None)
            torch.testing.assert_close(together[row, place], hidden[0], atol=1e-4, rtol=0)


def test_positions_of_a_tree() -> None:
    branch = torch.tensor([[0, 0, 0, 1, 1, 2, 2, 3, -1]])
    parent = torch.tensor([[0, 0, 0, 0, 0, 1, 1, 0, 0]])
    positions = branch_positions(branch, parent=parent)
    assert positions[0, :8].tolist() == [0, 1, 2, 3, 4, 5, 6, 3]


def test_positions_behind_a_cached_prefix() -> None:
    assert branch_positions(torch.tensor([[1, 1, 2, 2, 2]]), 7).tolist() == [[7, 8, 7, 8, 9]]


def test_a_mask_behind_a_cached_prefix() -> None:
    """Two branches see the cached prefix, where it is no padding, and themselves."""
    mask = branch_mask(torch.tensor([[1, 1, 2]]), torch.tensor([[-1, 0]]))[0, 0] == 0
    assert mask.tolist() == [
        [False, True, True, False, False],
        [False, True, True, True, False],
        [False, True, False, False, True],
    ]


def test_a_branch_is_spelled_by_the_grammar(network: Network) -> None:
    markers = Markers(ref=1, unref=2, end=3, image=4)
    ids = branch_ids([20, 21], ["level", "echo"], network.rows, markers)
    rows = network.rows
    level = [rows.token_id("level"), *rows.slot_ids("level")]
    assert ids == [1, 20, 21, 2, *level, rows.token_id("echo"), *rows.slot_ids("echo")]
