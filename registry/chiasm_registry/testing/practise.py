"""A little training on drawn pictures: enough to see that a task learns at all."""

from __future__ import annotations

from .bench import Bench
from .learning import losses_of, summed


def practise(bench: Bench, *, steps: int = 20, rate: float = 0.01) -> list[float]:
    """The loss of each step of a decoder and its embeddings, trained on three drawn pictures with the core frozen."""
    import torch

    decoder = bench.learner()
    vectors = bench.core.vectors(bench.task.spec).requires_grad_()
    optimizer = torch.optim.Adam([*decoder.parameters(), vectors], lr=rate)
    losses = []
    for _ in range(steps):
        loss = summed(losses_of(decoder, bench.lessons([bench.phrases] * 3, vectors)))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses
