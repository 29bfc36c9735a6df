"""The vocabulary's extension: what each task adds to the embedding and to the head, beside the base matrices.

Ids, in one space: base vocabulary [0, V), then one routing token a task, then one id for each task embedding ("slot
ids"). Slot ids are fed, never emitted and never part of a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from chiasm_registry import TaskSpec
from torch import Tensor, nn

_PIECE, _SAMPLE = 256, 4096  # rows of a base matrix
EAR = 3.0  # scale of what `TaskRow.asking` says, so that it learns as fast as the rest at one rate


@dataclass(frozen=True)
class Middle:
    """Where a base vocabulary lies: the mean rows of its embedding and of its head, (D,) each, and the deviation of the
    embedding's numbers, a scalar; float32.
    """

    embedding: Tensor
    head: Tensor
    spread: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, embedding: Tensor, head: Tensor) -> Middle:
        """Of the matrices (V, D); they may be one and the same. A sample of a large one tells its deviation."""
        step = -(-len(embedding) // _SAMPLE)
        mean = _mean(embedding)
        return cls(mean, mean if head is embedding else _mean(head), embedding[::step].float().std())


def _mean(matrix: Tensor) -> Tensor:
    """The mean row, piece by piece: the sum over the rows of 16-bit floats at once takes several times as long."""
    pieces = [matrix[start : start + _PIECE].float().sum(0) for start in range(0, len(matrix), _PIECE)]
    return torch.stack(pieces).sum(0) / len(matrix)


class TaskRow(nn.Module):
    """One task's learned vectors: its token's row in the embedding and in the head, its K embeddings, and its ear.

    `asking` are two vectors: where to listen in the words of a request, and how much a word speaks for the task. A task
    that is trained beside a language model that stays as it is can tell by them when it is meant; zeros, as in a task
    that was trained with its language model, change nothing.
    """

    def __init__(self, width: int, embeddings: int) -> None:
        super().__init__()
        self.input = nn.Parameter(torch.zeros(1, width))
        self.output = nn.Parameter(torch.zeros(1, width))
        self.vectors = nn.Parameter(torch.zeros(embeddings, width))
        self.asking = nn.Parameter(torch.zeros(2, width), requires_grad=False)

    @torch.no_grad()
    def start(self, middle: Middle, seed: int) -> None:
        """Untrained values: token rows at the mean of the base matrices, embeddings drawn around it by `seed`."""
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(self.vectors.shape, generator=generator).to(middle.embedding)
        self.input.copy_(middle.embedding)
        self.output.copy_(middle.head)
        self.vectors.copy_(middle.embedding + middle.spread * noise)


class Rows(nn.Module):
    """All tasks' rows over a base vocabulary of `base` ids; `specs` in the order of the task table."""

    def __init__(self, base: int, width: int, specs: Sequence[TaskSpec]) -> None:
        super().__init__()
        self.base = base
        self.names = tuple(spec.name for spec in specs)
        self.tasks = nn.ModuleList(TaskRow(width, spec.embeddings) for spec in specs)
        self.sizes = tuple(spec.embeddings for spec in specs)
        starts = [base + len(specs)]
        for size in self.sizes:
            starts.append(starts[-1] + size)
        self.starts = tuple(starts)  # of each task's slot ids; one more at the end

    def row(self, task: str) -> TaskRow:
        """The task's learned vectors."""
        return cast(TaskRow, self.tasks[self.names.index(task)])

    def _rows(self) -> Iterator[TaskRow]:
        return (cast(TaskRow, row) for row in self.tasks)

    def token_id(self, task: str) -> int:
        """The id of the task's routing token."""
        return self.base + self.names.index(task)

    def slot_ids(self, task: str) -> list[int]:
        """The ids of the task's embeddings, in order."""
        k = self.names.index(task)
        return list(range(self.starts[k], self.starts[k + 1]))

    def task_of(self, token: int) -> str | None:
        """The task whose routing token this is, or None."""
        k = token - self.base
        return self.names[k] if 0 <= k < len(self.names) else None

    def learn(self) -> bool:
        """Whether any routing token still learns when it is said."""
        return any(row.output.requires_grad for row in self._rows())

    def embed(self, ids: Tensor, base: Tensor) -> Tensor:
        """(B, L) ids of the whole space to (B, L, D); `base` is the (B, L, D) lookup of ids clamped below V."""
        if not self.tasks:
            return base
        table = torch.cat([*(row.input for row in self._rows()), *(row.vectors for row in self._rows())]).to(base.dtype)
        own = F.embedding((ids - self.base).clamp(min=0), table)  # indexing would add up its gradient one by one
        return torch.where((ids >= self.base)[..., None], own, base)

    def logits(self, hidden: Tensor, base: Tensor) -> Tensor:
        """(..., V) base logits with the routing tokens' appended: (..., V + tasks)."""
        if not self.tasks:
            return base
        table = torch.cat([row.output for row in self._rows()]).to(hidden.dtype)
        return torch.cat([base, hidden @ table.T], -1)

    def listen(self) -> bool:
        """Whether any task has an ear for requests, or is to get one."""
        return any(row.asking.requires_grad or bool(row.asking.any()) for row in self._rows())

    def grown(self) -> list[str]:
        """The tasks that were trained with the language model, not beside it: it says their tokens of itself."""
        rows = {name: self.row(name) for name in self.names}
        return [name for name, row in rows.items() if row.output.any() and not row.asking.any()]

    def votes(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """For embeddings (..., D) of words: how much each task listens there and what it hears, (..., tasks) both."""
        directions = F.normalize(words, dim=-1) * words.shape[-1] ** 0.5
        where, what = (torch.stack([row.asking[k] for row in self._rows()]).to(words) * EAR for k in (0, 1))
        return directions @ where.T, directions @ what.T

    @staticmethod
    def heard(votes: tuple[Tensor, Tensor], asked: Tensor) -> Tensor:
        """(N, tasks) to be added to the routing tokens' logits; `asked` (N, L) marks the words of N requests."""
        listen, speak = votes  # (N, L, tasks)
        heed = listen.masked_fill(~asked[..., None], torch.finfo(listen.dtype).min).softmax(1)
        return (heed * speak).sum(1)
