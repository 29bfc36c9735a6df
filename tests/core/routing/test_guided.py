"""Guided speech: what comes of a phrase does not depend on what else is asked."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from chiasm.model import Model
from chiasm.routing import guided
from chiasm.routing.guided import hear_prefix, speak_guided
from chiasm.routing.sequence import branch_ids
from chiasm_registry import InputError
from core.tiny import NAMES, tiny_model
from torch import Tensor

TASKS = ("detection", "level")
PHRASES = (*NAMES, *(f"thing {k} of eighty" for k in range(80 - len(NAMES))))


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


def prefix_of(model: Model) -> tuple[list[int], Tensor]:
    image = torch.randn(4, 32, generator=torch.Generator().manual_seed(1))
    return [*model.tokenizer.encode_user("look: "), *[model.markers.image] * 4, 60, 61], image


def slots_of(model: Model, phrases: Sequence[str], at_once: int = 100) -> list[Tensor]:
    """All slots of each phrase, one after the other."""
    spelled = [model.tokenizer.encode_user(phrase) for phrase in phrases]
    with torch.inference_mode():
        heard = hear_prefix(model.network, model.markers, *prefix_of(model))
        spoken = speak_guided(model.network, model.markers, heard, spelled, TASKS, at_once=at_once)
    return [torch.cat([slots[task] for task in TASKS]) for slots in spoken]


def compare(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


@pytest.fixture(scope="module")
def eighty(model: Model) -> list[Tensor]:
    return slots_of(model, PHRASES)


def test_alone_as_among_eighty(model: Model, eighty: list[Tensor]) -> None:
    compare([slots_of(model, [phrase])[0] for phrase in PHRASES[:8]], eighty[:8])


def test_in_any_order(model: Model, eighty: list[Tensor]) -> None:
    compare(slots_of(model, PHRASES[::-1])[::-1], eighty)


@pytest.mark.parametrize("at_once", [1, 7, 80])
def test_in_chunks_of_any_size(model: Model, eighty: list[Tensor], at_once: int) -> None:
    compare(slots_of(model, PHRASES, at_once), eighty)


def test_many_long_phrases_share_the_memory_of_a_pass(
    model: Model, eighty: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass is bounded by its ids as well as by its phrases, and a phrase longer than that still has a pass."""
    passes: list[int] = []
    plain = guided._speak_branches

    def counted(
        network: object, markers: object, prefix: object, branches: Sequence[list[int]], tasks: object
    ) -> object:
        passes.append(len(branches))
        return plain(network, markers, prefix, branches, tasks)  # type: ignore[arg-type]

    monkeypatch.setattr(guided, "IDS_AT_ONCE", 40)
    monkeypatch.setattr(guided, "_speak_branches", counted)
    compare(slots_of(model, PHRASES), eighty)
    assert len(passes) > 10
    assert sum(passes) == 80


def test_a_phrase_that_is_too_long_for_the_model_is_refused_with_both_counts(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.network.backbone, "positions", 30)
    with pytest.raises(InputError, match=r"a phrase with its prompt has \d+ tokens; the model takes 30"):
        slots_of(model, ["dog", "a very long phrase of many words that goes on and on"])


def test_a_branch_is_a_prompt_of_its_own(model: Model, eighty: list[Tensor]) -> None:
    """The slots are those of the prefix and this one phrase, run as one plain sequence."""
    prefix, image = prefix_of(model)
    for phrase, slots in zip(PHRASES[:4], eighty, strict=False):
        branch = branch_ids(model.tokenizer.encode_user(phrase), TASKS, model.network.rows, model.markers)
        ids = torch.tensor([[*prefix, *branch]])
        embeds = model.network.embed(ids, model.markers.image, image)
        hidden = model.network.backbone.speak(embeds, None, torch.arange(ids.shape[1])[None], None)
        plain = torch.cat([model.network.slots(ids, hidden, task)[0] for task in TASKS])
        torch.testing.assert_close(slots, plain, atol=1e-4, rtol=0)
