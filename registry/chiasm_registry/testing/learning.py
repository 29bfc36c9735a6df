"""Rules on training: a task without `loss` is left alone by them, except for its metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .bench import Bench, Lessons
from .rule import BrokenRuleError, NotApplicableError

if TYPE_CHECKING:
    from torch import Tensor


def check_losses(bench: Bench) -> None:
    """`targets` gives one a phrase, `loss` gives named finite scalars for three pictures asked two, none and one."""
    decoder = bench.learner()
    first, second, _ = bench.phrases
    # Core leaves out pictures of which nothing is asked, as `loss` may rely on.
    lessons = bench.lessons([(first, second), (), (second,)])
    parts = zip(lessons.scenes, lessons.routes, lessons.targets, strict=True)
    scenes, routes, targets = (list(part) for part in zip(*(one for one in parts if one[1]), strict=True))
    summed(losses_of(decoder, Lessons(scenes, routes, targets)))


def check_absent(bench: Bench) -> None:
    """Where nothing that a phrase means is in any picture the losses are finite, too."""
    summed(losses_of(bench.learner(), bench.lessons([(bench.absent,)] * 3)))


def check_gradients(bench: Bench) -> None:
    """Gradients reach slots, embeddings and every trained parameter of the decoder, and nothing else."""
    import torch

    decoder = bench.learner()
    vectors = bench.core.vectors(bench.task.spec).requires_grad_()
    lessons = bench.lessons([bench.phrases] * 3, vectors)
    slots = [route.slots for routes in lessons.routes for route in routes]
    for tensor in slots:
        tensor.retain_grad()
    summed(losses_of(decoder, lessons)).backward()  # type: ignore[no-untyped-call]
    if not any(_moves(tensor.grad) for tensor in slots):
        raise BrokenRuleError("no gradient reaches the slots")
    if not _moves(None if vectors.grad is None else vectors.grad[1:]):
        raise BrokenRuleError("no gradient reaches the embeddings")
    for name, parameter in decoder.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            raise BrokenRuleError(f"no gradient reaches the decoder's {name}")
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            raise BrokenRuleError(f"the gradient of the decoder's {name} is not finite")
    strays = [grid for scene in lessons.scenes for grid in scene.maps if grid.requires_grad]
    if strays or any(parameter.grad is not None for parameter in bench.core.model.parameters()):
        raise BrokenRuleError("a gradient reaches the core's own tensors")


def check_metric(bench: Bench) -> None:
    """A metric takes outputs with their targets and gives named finite numbers."""
    metric = bench.task.metric()
    if metric is None:
        raise NotApplicableError("it has no metric()")
    sample = bench.drawn[0].sample("drawn", bench.phrases)
    outputs = bench.answers(bench.kept, bench.phrases, bench.drawn[0].picture)
    metric.update(outputs, list(bench.task.targets(sample)))
    figures = metric.compute()
    if not isinstance(figures, Mapping) or not figures:
        raise BrokenRuleError("metric().compute() gives no figures by name")
    for name, figure in figures.items():
        if type(figure) not in (int, float) or not math.isfinite(figure):
            raise BrokenRuleError(f"metric().compute() gives a {name} that is no finite number")


def losses_of(decoder: Any, lessons: Lessons) -> Mapping[str, Tensor]:
    """What `loss` gives for a batch, under one seed."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        losses: Any = decoder.loss(lessons.scenes, lessons.routes, lessons.targets)
    if not isinstance(losses, Mapping) or not losses:
        raise BrokenRuleError("loss() gives no losses by name")
    return losses


def summed(losses: Mapping[str, Tensor]) -> Tensor:
    """Their sum; each must be a finite scalar."""
    import torch

    for name, loss in losses.items():
        if not isinstance(loss, torch.Tensor) or loss.ndim:
            raise BrokenRuleError(f"the loss {name} is no scalar tensor")
        if not bool(torch.isfinite(loss)):
            raise BrokenRuleError(f"the loss {name} is {float(loss.detach()):g}")
    return torch.stack([loss.float() for loss in losses.values()]).sum()


def _moves(gradient: Tensor | None) -> bool:
    return gradient is not None and bool(gradient.isfinite().all()) and bool(gradient.abs().sum() > 0)
