"""Adapters of a task: on in its calls, gone to the bit in all others, and of one language model alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

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
    add_adapter(model, task, 2)
    for parameter in adapter_tensors(model, task).values():
        parameter.data.normal_()
    return {name: tensor.detach().clone() for name, tensor in adapter_tensors(model, task).items()}


X = torch.randn(2, 4, generator=torch.Generator().manual_seed(1))


def test_fresh_ones_change_nothing() -> None:
    model = language()
    before = model(X)
    add_adapter(model, "a", 2)
    assert len(adapter_tensors(model, "a")) == 4
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


def test_threads_hear_their_own_ones_alone() -> None:
    model = language()
    drawn(model, "a")
    drawn(model, "b")

    def said(task: str) -> Tensor:
        with speaking_for(model, [task]):
            return torch.stack([model(X) for _ in range(20)])

    wanted = {task: said(task) for task in "ab"}
    with ThreadPoolExecutor(4) as pool:
        heard = list(pool.map(lambda k: torch.equal(said("ab"[k % 2]), wanted["ab"[k % 2]]), range(80)))
    assert all(heard)


@pytest.mark.parametrize("name", ["values", "keys", "train", "forward", "0", "lora_A"])
def test_a_task_may_be_called_like_a_part_of_a_module(name: str) -> None:
    model = language()
    before = model(X)
    stored = drawn(model, name)
    with speaking_for(model, [name]):
        assert not torch.equal(model(X), before)
    assert torch.equal(model(X), before)
    drawn(model, "other")
    assert adapter_tensors(model, name).keys() == stored.keys()


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
    """And nothing is changed: no adapter is left in the layers, let alone switched on."""
    stored = drawn(language(), "a")
    wide, flat = torch.zeros(2, 6), torch.zeros(2)
    last = max(name for name in stored if name.endswith(".A"))
    misshapen = ({**stored, last: wide}, {**stored, last: flat}, dict(list(stored.items())[:2]), {})
    for model, tensors in ((language(6), stored), *((language(), wrong) for wrong in misshapen)):
        with pytest.raises(ChiasmError, match="are of another language model"):
            fill_adapter(model, "a", tensors)
        assert [type(layer) for layer in model.modules()] == [type(layer) for layer in language().modules()]
