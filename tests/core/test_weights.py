"""Between a network and a checkpoint's tensors: nothing is lost, nothing is half filled, what does not fit is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from chiasm.assemble import build_backbone
from chiasm.routing.network import Network
from chiasm.weights import check_core, core_tensors, fill_core, fill_task, start_tasks, task_file
from chiasm_registry import CheckpointError
from core.tiny import LevelTask, description, fakes, tiny_network
from torch import Tensor

EMBEDDING = "internvl.model.language_model.embed_tokens.weight"
HEAD = "internvl.lm_head.weight"


@pytest.fixture(scope="module")
def network() -> Network:
    return tiny_network(fakes())


def state(network: Network) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def unchanged(network: Network, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("tied", [True, False])
def test_tensors_come_back_to_the_bit(tied: bool) -> None:
    """In bfloat16, as checkpoints are written; a head that is the embedding is stored once and stays tied."""
    one, other = tiny_network(fakes(), tied=tied), tiny_network(fakes(), tied=tied, seed=1)
    stored = core_tensors(one, torch.bfloat16)
    assert (HEAD in stored) is not tied
    fill_core(other, stored)
    for name, tensor in core_tensors(other, torch.bfloat16).items():
        assert torch.equal(tensor, stored[name]), name
    embedding, head = other.backbone.matrices()
    assert (embedding.data_ptr() == head.data_ptr()) is tied


def test_a_tied_head_follows_the_embedding_to_another_type() -> None:
    tied = tiny_network(fakes()).to(torch.bfloat16)
    embedding, head = tied.backbone.matrices()
    assert embedding.data_ptr() == head.data_ptr()
    assert HEAD not in core_tensors(tied, torch.bfloat16)


def test_a_task_comes_back_to_the_bit(network: Network) -> None:
    other = tiny_network(fakes(), seed=1)
    for name, task in (("level", LevelTask()), ("detection", fakes()[0])):
        stored = task_file(network, name, task.spec.token, 0, "nobody's distribution", torch.bfloat16)
        assert stored.version == "0"
        fill_task(other, stored)
        again = task_file(other, name, task.spec.token, 0, "nobody's distribution", torch.bfloat16)
        assert torch.equal(again.vectors, stored.vectors)
        assert torch.equal(again.rows_input, stored.rows_input)
        assert torch.equal(again.rows_output, stored.rows_output)
        assert all(torch.equal(again.decoder[key], tensor) for key, tensor in stored.decoder.items())


def lacking(tensors: dict[str, Tensor]) -> None:
    del tensors[EMBEDDING]


def spare(tensors: dict[str, Tensor]) -> None:
    tensors["internvl.other"] = torch.zeros(2)


def misshapen(tensors: dict[str, Tensor]) -> None:
    tensors[EMBEDDING] = tensors[EMBEDDING][:-1]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [(lacking, "lacks the tensor"), (spare, "unknown tensor internvl.other"), (misshapen, "the model wants")],
)
def test_a_core_that_does_not_fit_changes_nothing(
    network: Network, spoil: Callable[[dict[str, Tensor]], None], message: str
) -> None:
    """Missing, extra and misshapen tensors are named; also on the meta device, where nothing has memory yet."""
    tensors = core_tensors(tiny_network(fakes(), seed=1), torch.float32)
    spoil(tensors)
    before = state(network)
    with pytest.raises(CheckpointError, match=message) as caught:
        fill_core(network, tensors)
    assert len(str(caught.value)) <= 200
    assert unchanged(network, before)
    with torch.device("meta"), pytest.raises(CheckpointError, match=message):
        check_core(build_backbone(description(), blank=True), tensors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vectors": torch.zeros(4, 32)}, "embeddings is"),
        ({"rows_input": torch.zeros(1, 16)}, "rows.input is"),
        ({"decoder": {}}, "lacks the tensor decoder.gain"),
        ({"decoder": {"gain": torch.zeros(32), "loss": torch.zeros(1)}}, "unknown tensor decoder.loss"),
    ],
)
def test_a_task_that_does_not_fit_changes_nothing(network: Network, change: dict[str, Any], message: str) -> None:
    stored = task_file(tiny_network(fakes(), seed=1), "level", "[LEVEL]", 0, "chiasm", torch.float32)
    before = state(network)
    with pytest.raises(CheckpointError, match=message):
        fill_task(network, replace(stored, **change))
    assert unchanged(network, before)


@pytest.mark.parametrize("given", [torch.ones(32), torch.ones(32, dtype=torch.int32)])
def test_whole_numbers_come_from_whole_numbers_of_the_same_size(given: Tensor) -> None:
    """A float is rounded to another float; a buffer of whole numbers takes nothing that would have to be cut."""
    network = tiny_network([LevelTask()])
    network.decoders["level"].register_buffer("seen", torch.zeros(32, dtype=torch.int64))
    stored = task_file(network, "level", "[LEVEL]", 0, "chiasm", torch.bfloat16)
    fill_task(network, stored)
    with pytest.raises(CheckpointError, match=r"decoder.seen is torch.(float32|int32), the model wants torch.int64"):
        fill_task(network, replace(stored, decoder={**stored.decoder, "seen": given}))


def test_untrained_tasks_start_by_their_names() -> None:
    """Wherever a task stands in a table and whoever else is there, its first vectors are the same."""
    one, other = tiny_network(fakes()), tiny_network([LevelTask()])
    fill_core(other, core_tensors(one, torch.float32))
    start_tasks(one, ["level", "echo"])
    start_tasks(other, ["level"])
    assert torch.equal(one.rows.row("level").vectors, other.rows.row("level").vectors)
    assert not torch.equal(one.rows.row("level").vectors[:1], one.rows.row("echo").vectors)


def test_no_two_untrained_tasks_start_alike() -> None:
    class Roads(LevelTask):
        spec = LevelTask.spec.model_copy(update={"name": "segment_roads", "token": "[ROADS]"})

    class Lakes(LevelTask):
        spec = LevelTask.spec.model_copy(update={"name": "segment_lakes", "token": "[LAKES]"})

    network = tiny_network([Roads(), Lakes()])
    start_tasks(network, ["segment_roads", "segment_lakes"])
    assert not torch.equal(network.rows.row("segment_roads").vectors, network.rows.row("segment_lakes").vectors)
