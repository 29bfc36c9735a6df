"""The vocabulary's extension: every task has its ids, its rows and its embeddings, and the base knows nothing of it."""

from __future__ import annotations

import pytest
import torch
from chiasm.routing.network import Decoders
from chiasm.routing.rows import Middle, Rows, TaskRow
from core.tiny import BoxTask, EchoTask, LevelTask
from torch import nn

SPECS = [BoxTask.spec, LevelTask.spec, EchoTask.spec]
BASE, WIDTH = 10, 6


def filled() -> Rows:
    rows = Rows(BASE, WIDTH, SPECS)
    with torch.no_grad():
        for k, parameter in enumerate(rows.parameters()):
            parameter.copy_(torch.arange(parameter.numel()).view_as(parameter) + 100.0 * k)
    return rows


def test_ids_follow_the_base_without_holes() -> None:
    rows = filled()
    assert [rows.token_id(spec.name) for spec in SPECS] == [10, 11, 12]
    assert [rows.slot_ids(spec.name) for spec in SPECS] == [[13, 14, 15, 16], [17, 18, 19], [20]]
    assert [rows.task_of(token) for token in (9, 10, 11, 12, 13, 20)] == [
        None,
        "detection",
        "level",
        "echo",
        None,
        None,
    ]


def test_an_id_is_embedded_by_its_own_vector() -> None:
    rows = filled()
    ids = torch.tensor([[3, 10, 13, 16, 12, 20, 9]])
    base = torch.full((1, 7, WIDTH), -1.0)
    found = rows.embed(ids, base)[0]
    box, echo = rows.row("detection"), rows.row("echo")
    wanted = [base[0, 0], box.input[0], box.vectors[0], box.vectors[3], echo.input[0], echo.vectors[0], base[0, 6]]
    assert torch.equal(found, torch.stack(wanted))


def test_routing_tokens_have_logits_and_slots_have_none() -> None:
    rows = filled()
    hidden, base = torch.randn(2, 5, WIDTH), torch.randn(2, 5, BASE)
    logits = rows.logits(hidden, base)
    assert logits.shape == (2, 5, BASE + len(SPECS))
    assert torch.equal(logits[..., :BASE], base)
    wanted = (hidden * rows.row("level").output).sum(-1)
    torch.testing.assert_close(logits[..., BASE + 1], wanted, atol=1e-3, rtol=0)


def test_no_task_changes_nothing() -> None:
    rows = Rows(BASE, WIDTH, [])
    base = torch.randn(1, 3, WIDTH)
    assert rows.embed(torch.tensor([[1, 2, 3]]), base) is base
    assert rows.logits(base, base) is base


def test_untrained_rows_are_the_same_everywhere() -> None:
    """Token rows stand at the mean, embeddings are drawn by a seed and not by the process's random state."""
    embedding, head = torch.randn(BASE, WIDTH), torch.randn(BASE, WIDTH)
    one, other = TaskRow(WIDTH, 3), TaskRow(WIDTH, 3)
    one.start(Middle.of(embedding, head), 5)
    torch.rand(9)
    other.start(Middle.of(embedding, head), 5)
    torch.testing.assert_close(one.input[0], embedding.mean(0))
    torch.testing.assert_close(one.output[0], head.mean(0))
    assert torch.equal(one.vectors, other.vectors)
    other.start(Middle.of(embedding, head), 6)
    assert not torch.equal(one.vectors, other.vectors)


def test_the_middle_of_a_large_matrix_of_short_floats_is_its_mean() -> None:
    """Though it is summed piece by piece, and only some of it is looked at for the deviation."""
    matrix = (3 + 2 * torch.randn(9000, WIDTH)).bfloat16()
    middle = Middle.of(matrix, matrix[:5])
    torch.testing.assert_close(middle.embedding, matrix.double().mean(0).float())
    torch.testing.assert_close(middle.head, matrix[:5].double().mean(0).float())
    assert abs(float(middle.spread) - 2) < 0.05


def test_gradients_reach_only_what_was_fed() -> None:
    rows = filled()
    rows.embed(torch.tensor([[11, 17]]), torch.zeros(1, 2, WIDTH)).sum().backward()
    level, box = rows.row("level"), rows.row("detection")
    assert level.input.grad is not None
    assert level.vectors.grad is not None
    assert level.vectors.grad[0].any()
    assert not level.vectors.grad[1].any()
    assert box.vectors.grad is None or not box.vectors.grad.any()


def test_an_ear_hears_its_word_wherever_it_stands_and_no_other() -> None:
    """A task that listens for one direction speaks up when a request has that word; its length does not count."""
    rows = Rows(20, 8, SPECS[:2])
    words = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        rows.row("level").asking.copy_(torch.stack([words[3], words[3]]))
    request = words[[5, 3, 7, 9, 9]][None].expand(3, -1, -1)
    asked = torch.tensor([[1, 1, 1, 0, 0], [1, 0, 1, 0, 0], [1, 1, 0, 0, 0]]).bool()
    heard = rows.heard(rows.votes(request), asked)
    assert torch.equal(heard[:, 0], torch.zeros(3))
    assert heard[0, 1] > 5
    assert heard[2, 1] > 5
    assert heard[1, 1] < heard[0, 1] / 2


def test_without_ears_nothing_is_added() -> None:
    rows = Rows(20, 8, SPECS[:1])
    assert not rows.listen()
    rows.row("detection").asking.requires_grad_(True)
    assert rows.listen()


@pytest.mark.parametrize("name", ["values", "train", "training", "type", "forward", "cuda"])
def test_a_task_may_be_called_like_something_that_modules_have(name: str) -> None:
    decoders = Decoders({name: nn.Linear(1, 1)})
    assert isinstance(decoders[name], nn.Linear)
    assert list(decoders.eval().state_dict()) == [f"{name}.weight", f"{name}.bias"]
    assert list(decoders.values()) == [decoders[name]]
    assert not decoders[name].training
