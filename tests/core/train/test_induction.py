"""A seeded language model copies before it has learned anything; an ordinary one does not."""

from __future__ import annotations

import pytest
import torch
from chiasm.train.induction import seed_induction
from transformers import Qwen2Config, Qwen2Model


def _copied(seeded: bool) -> float:
    """The share of a repeated random sequence that is continued rightly, its first token aside."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 512, "hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4}
    rope = {"rope_type": "default", "rope_theta": 1e6}
    model = Qwen2Model(Qwen2Config(**sizes, **heads, rope_parameters=rope)).eval()
    if seeded:
        seed_induction(model)
    once = torch.randint(0, 512, (1, 40))
    with torch.no_grad():
        hidden = model(input_ids=torch.cat([once, once], 1)).last_hidden_state
        said = (hidden @ model.embed_tokens.weight.T).argmax(-1)
    return float((said[0, 40:79] == once[0, 1:]).float().mean())


@pytest.mark.parametrize(("seeded", "low", "high"), [(True, 0.4, 1.0), (False, 0.0, 0.1)])
def test_a_seeded_model_continues_what_it_has_seen(seeded: bool, low: float, high: float) -> None:
    """Half of it from the first step on, where ordinary initial weights know nothing."""
    assert low <= _copied(seeded) <= high
