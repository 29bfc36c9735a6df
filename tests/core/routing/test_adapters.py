"""Adapters of a task: on in its calls, gone to the bit in all others, and of one language model alone."""

from __future__ import annotations

import pytest
import torch
from chiasm.routing.adapters import adapter_tensors, add_adapter, fill_adapter, speaking_for
from chiasm_registry import ChiasmError
from torch import Tensor, nn

pytest.importorskip("peft")


def language(width: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(width, 5), nn.GELU(), nn.Linear(5, 3))


def drawn(model: nn.Module, task: str) -> dict[str, Tensor]:
    """Adapters that do something, and a copy of them."""
    for parameter in add_adapter(model, task, 2):
        parameter.data.normal_()
    return {name: tensor.detach().clone() for name, tensor in adapter_tensors(model, task).items()}


X = torch.randn(2, 4, generator=torch.Generator().manual_seed(1))


def test_fresh_ones_change_nothing() -> None:
    model = language()
    before = model(X)
    assert len(add_adapter(model, "a", 2)) == 4
    assert torch.equal(model(X), before)


def test_they_are_on_in_their_own_calls_alone() -> None:
    model = language()
    before = model(X)
    drawn(model, "a")
    drawn(model, "b")
    with speaking_for(model, ["a"]):
        one = model(X)
    with speaking_for(model, ["b", "other"]):
        two = model(X)
    with speaking_for(model, ["other"]):
        assert torch.equal(model(X), before)
    assert torch.equal(model(X), before)
    assert not torch.equal(one, before)
    assert not torch.equal(one, two)


def test_they_are_off_again_after_a_fault() -> None:
    model = language()
    before = model(X)
    drawn(model, "a")
    with pytest.raises(KeyError), speaking_for(model, ["a"]):
        raise KeyError
    assert torch.equal(model(X), before)


def test_what_is_read_speaks_as_what_was_written() -> None:
    model, other = language(), language()
    stored = drawn(model, "a")
    drawn(other, "b")
    fill_adapter(other, "a", stored)
    with speaking_for(model, ["a"]):
        wanted = model(X)
    with speaking_for(other, ["a"]):
        assert torch.equal(other(X), wanted)
    assert torch.equal(other(X), language()(X))


def test_those_of_another_language_model_are_refused() -> None:
    stored = drawn(language(), "a")
    for model, tensors in ((language(6), stored), (language(), dict(list(stored.items())[:2]))):
        with pytest.raises(ChiasmError, match="are of another language model"):
            fill_adapter(model, "a", tensors)
