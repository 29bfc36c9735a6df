"""The optimizer of a run: AdamW with a rate per name prefix, and its schedule as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from chiasm_registry.errors import TrainingError, shown
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from .config import OptimizerConfig


def plain_name(name: str) -> str:
    """A parameter's name without what `torch.compile` puts into it."""
    return name.replace("_orig_mod.", "")


def freeze(module: nn.Module, groups: Mapping[str, float]) -> None:
    """Turn the gradients of prefixes with factor 0 off; TrainingError for a prefix that no parameter has."""
    names = [plain_name(name) for name, _ in module.named_parameters()]
    for prefix in groups:
        if not any(_under(name, prefix) for name in names):
            raise TrainingError(f"optimizer.groups: no parameter's name begins with {shown(prefix)}")
    for name, parameter in module.named_parameters():
        if rate_factor(plain_name(name), groups) == 0:
            parameter.requires_grad_(False)


def make_optimizer(module: nn.Module, config: OptimizerConfig) -> AdamW:
    """AdamW over the trainable parameters; vectors (norms, biases) are not decayed."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            decay = config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate_factor(plain_name(name), config.groups), decay), []).append(parameter)
    if not groups:
        raise TrainingError("nothing to train: every parameter is frozen")
    on_gpu = all(p.is_cuda for some in groups.values() for p in some)
    return AdamW(
        [{"params": some, "lr": config.lr * factor, "weight_decay": decay} for (factor, decay), some in groups.items()],
        lr=config.lr, betas=config.betas, eps=config.eps, fused=on_gpu or None,
    )


def make_schedule(optimizer: torch.optim.Optimizer, config: OptimizerConfig, steps: int, done: int = 0) -> LambdaLR:
    """Linear warm-up, then a cosine to `final_lr` at `steps` (or constant); it stands where `done` steps leave it."""

    def share(step: int) -> float:
        if step < config.warmup_steps:
            return (step + 1) / config.warmup_steps
        if config.schedule == "constant":
            return 1.0
        way = min(1.0, (step - config.warmup_steps) / max(1, steps - config.warmup_steps))
        return config.final_lr + (1 - config.final_lr) * 0.5 * (1 + math.cos(math.pi * way))

    schedule = LambdaLR(optimizer, share)
    schedule.last_epoch = done
    for group, base in zip(optimizer.param_groups, schedule.base_lrs, strict=True):
        group["lr"] = base * share(done)
    return schedule


def rate_factor(name: str, groups: Mapping[str, float]) -> float:
    """What the rate of a parameter is multiplied with, by its name's longest prefix; 0 freezes it."""
    fitting = [prefix for prefix in groups if _under(name, prefix)]
    return groups[max(fitting, key=len)] if fitting else 1.0


def _under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix.rstrip(".") + ".")
