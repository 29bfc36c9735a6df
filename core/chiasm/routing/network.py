"""All that is trained, in one module: the backbone, the tasks' rows, the tasks' decoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
from chiasm_registry import TaskTable
from torch import Tensor, nn

from ..backbone.protocol import Backbone
from .adapters import speaking_for
from .rows import Rows


class Decoders(nn.ModuleDict):
    """Modules by the names of tasks, which are anybody's: `values` or `train` is a name like any other."""

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Without torch's refusal of names that a module has already: these are only asked for by `[name]`."""
        if module is not None:
            self._modules[name] = module

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "training":  # torch's own flag, whatever task is called so
            self.__dict__[name] = value
        else:
            super().__setattr__(name, value)


class Network(nn.Module):
    """`decoders` holds only the tasks that are loaded; `table` also keeps the places of the absent ones."""

    def __init__(self, backbone: nn.Module, table: TaskTable, decoders: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.backbone_module = backbone
        self.rows = Rows(self.backbone.vocabulary, self.backbone.info.width, table.specs)
        self.decoders = Decoders(dict(decoders))
        self.adapted = False  # whether any task has adapters in the language model

    @property
    def backbone(self) -> Backbone:
        """The backbone by its protocol."""
        return cast(Backbone, self.backbone_module)

    @property
    def language(self) -> nn.Module:
        """The language model itself, which adapters of tasks may lie over."""
        mouth = getattr(self.backbone_module, "mouth", None)
        model: nn.Module = mouth().model if mouth else self.backbone_module.internvl.model.language_model  # type: ignore
        return model

    def speaking_for(self, tasks: Sequence[str]) -> AbstractContextManager[None]:
        """Inside, the language model speaks with the adapters of these tasks, if they have any."""
        return speaking_for(self.language, tasks) if self.adapted else nullcontext()

    def embed(self, ids: Tensor, image_id: int, image_tokens: Tensor | None = None) -> Tensor:
        """(B, L) ids of the whole space to (B, L, D); `image_tokens` (M, D) fill the places of `image_id` in order."""
        embeds = self.rows.embed(ids, self.backbone.embed(ids.clamp(max=self.rows.base - 1)))
        if image_tokens is None:
            return embeds
        places = ids == image_id
        return embeds.masked_scatter(places[..., None], image_tokens.to(embeds.dtype))

    def logits(self, hidden: Tensor, heard: Tensor | None = None) -> Tensor:
        """(..., D) to (..., V + tasks); `heard` (..., tasks) is what the request adds to the routing tokens."""
        logits = self.rows.logits(hidden, self.backbone.head(hidden))
        if heard is None:
            return logits
        return torch.cat([logits[..., : self.rows.base], logits[..., self.rows.base :] + heard], -1)

    def heard(self, requests: Sequence[Sequence[int]], image_id: int) -> Tensor | None:
        """(N, tasks) of N requests by their ids, images left out; None where no task listens."""
        if not self.rows.listen():
            return None
        device = next(self.parameters()).device
        words = [[i for i in ids if i != image_id and i < self.rows.base] or [0] for ids in requests]
        longest = max(map(len, words))
        ids = torch.tensor([[*some, *[0] * (longest - len(some))] for some in words], device=device)
        asked = torch.arange(longest, device=device) < torch.tensor([[len(some)] for some in words], device=device)
        return self.rows.heard(self.rows.votes(self.backbone.embed(ids)), asked)

    def slots(self, ids: Tensor, hidden: Tensor, task: str) -> Tensor:
        """Hidden states at the task's slot positions, in reading order: (routes, K, D) from (B, L) and (B, L, D)."""
        first, last = self.rows.slot_ids(task)[0], self.rows.slot_ids(task)[-1]
        taken = hidden[(ids >= first) & (ids <= last)]  # (routes * K, D)
        return taken.view(-1, last - first + 1, hidden.shape[-1])


def dtype_of(module: nn.Module) -> torch.dtype:
    """The floating type a module computes in."""
    return next(p.dtype for p in module.parameters() if p.is_floating_point())
