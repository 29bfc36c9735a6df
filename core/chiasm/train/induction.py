"""A language model that can copy from its first step: two induction circuits written into fresh weights.

An induction head (Olsson et al., 2022) finds an earlier place that was preceded by what stands here now, and says what
came next there. It takes a transformer long to find that out, and an answer that names what a person asked for is
made of it. Here heads of layer 0 remember the last token and the one before it, heads of layer 1 look them up. All of
it is only where training starts: every weight goes on to learn.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

EMBEDDING_STD = 0.0625  # with a shared head a token's own logit is then 16 at most, a stranger's about 1
OFFSET_GAP = 7.0  # how much more a look-back head likes its place than the next one, in logits
MATCH = 14.0  # the logit of an exact match
SLOW = 4e-3  # radians a token; only dimensions that turn slower keep their content over a prompt


@torch.no_grad()
def seed_induction(model: Any, seed: int = 0) -> None:
    """Write the circuits into a fresh transformers Qwen2-like model with at least two layers and two full heads."""
    generator = torch.Generator().manual_seed(seed)
    config, width = model.config, model.config.hidden_size
    head = width // config.num_attention_heads
    model.embed_tokens.weight.normal_(0, EMBEDDING_STD, generator=generator)
    turn = config.rope_parameters["rope_theta"] ** (-torch.arange(0, head, 2) / head)  # (head / 2,) radians a token
    basis = torch.linalg.qr(torch.randn(width, width, generator=generator))[0].split(head)  # orthonormal rows
    content, last, before, said = (part[:head] for part in basis[:4])
    look, match = model.layers[0].self_attn, model.layers[1].self_attn
    _look_back(look, 0, head, turn, 1, content, last)
    _look_back(look, 1, head, turn, 2, content, before)
    slow = (turn < SLOW).repeat(2)  # rotary pairs are (f, f + head / 2)
    _match(match, 0, head, slow, query=content, key=last, said=said)
    _match(match, 1, head, slow, query=last, key=before, said=said)


def _look_back(layer: Any, place: int, head: int, turn: Tensor, offset: int, read: Tensor, write: Tensor) -> None:
    """A head that looks `offset` tokens back whatever stands there, and notes its `read` part under `write`."""
    part = slice(place * head, (place + 1) * head)
    gap = (1 - turn.cos()).sum() / math.sqrt(head)
    strength = torch.full_like(turn, math.sqrt(OFFSET_GAP / float(gap)))
    angle = offset * turn
    layer.q_proj.weight[part].mul_(0.1)
    layer.k_proj.weight[part].mul_(0.1)
    layer.q_proj.bias[part] = torch.cat([strength, torch.zeros_like(strength)])
    layer.k_proj.bias[part] = torch.cat([strength * angle.cos(), strength * angle.sin()])
    layer.v_proj.weight[part] = read
    layer.o_proj.weight[:, part] = write.T / math.sqrt(head)


def _match(layer: Any, place: int, head: int, slow: Tensor, *, query: Tensor, key: Tensor, said: Tensor) -> None:
    """A head that finds where `key` holds what `query` holds here, and says the token that stands there."""
    part = slice(place * head, (place + 1) * head)
    # After the norm each of about three equal parts of the stream has a norm of sqrt(width / 3); the head sees
    # `head / width` of a token's content.
    width = query.shape[1]
    norm = (width / 3) * (int(slow.sum()) / width)
    scale = math.sqrt(MATCH * math.sqrt(head) / norm)
    layer.q_proj.weight[part] = scale * query * slow[:, None]
    layer.k_proj.weight[part] = scale * key * slow[:, None]
    layer.v_proj.weight[part] = said
    layer.o_proj.weight[:, part] = said.T / math.sqrt(head) * 2
