"""Training items: one view of one image with what is said about it, as ids, labels and targets. Made in workers.

Item i of a run depends on the seed and on i alone, so that a run can be resumed anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from chiasm_registry import Sample, Task
from torch import Tensor
from torch.utils.data import Dataset

from ..routing.rows import Rows
from ..routing.sequence import Markers, branch_ids
from ..text import Template, Tokenizer, build_prompt
from .cutouts import CutoutIndex
from .data import Record
from .render import collate_plans
from .requests import Composer, Request, Routed
from .scenes import Settings, ViewPlan, item_rng, plan

NO_LABEL = -100


@dataclass(frozen=True)
class Row:
    """One sequence: ids of the whole space, branch numbers, and at each position the id to predict (or NO_LABEL)."""

    ids: list[int]
    branch: list[int]
    labels: list[int]
    routed: list[tuple[str, Routed]]  # (task, what was routed) in the order of the slots


@dataclass(frozen=True)
class Item:
    """One image of a batch."""

    image_id: str
    view: ViewPlan
    rows: list[Row]
    targets: dict[str, list[Any]]  # by task, one a route, in the order of the rows
    phrases: dict[str, list[str]]


@dataclass(frozen=True)
class Writer:
    """Turns requests into rows."""

    tokenizer: Tokenizer
    template: Template
    rows: Rows
    markers: Markers
    image_tokens: int
    instruction: str

    def write(self, request: Request) -> Row:
        """Guided requests become a prefix with branches, all others a conversation whose answer is learned."""
        return self._guided(request) if request.prompt is None else self._conversation(request, request.prompt)

    def _guided(self, request: Request) -> Row:
        prefix = list(build_prompt(self.tokenizer, self.template, [(self.instruction, None)], [self.image_tokens]).ids)
        ids, branch, routed = prefix, [0] * len(prefix), []
        for number, said in enumerate((said for said in request.answer if isinstance(said, Routed)), 1):
            own = branch_ids(self.tokenizer.encode_user(said.phrase), said.tasks, self.rows, self.markers)
            ids, branch = ids + own, branch + [number] * len(own)
            routed += [(task, said) for task in said.tasks]
        return Row(ids, branch, [NO_LABEL] * len(ids), routed)

    def _conversation(self, request: Request, prompt: str) -> Row:
        ids = list(build_prompt(self.tokenizer, self.template, [(prompt, None)], [self.image_tokens]).ids)
        start, routed = len(ids), []
        for said in request.answer:
            if isinstance(said, Routed):
                ids += branch_ids(self.tokenizer.encode_user(said.phrase), said.tasks, self.rows, self.markers)
                routed += [(task, said) for task in said.tasks]
            else:
                ids += self.tokenizer.encode_user(said)
        ids.append(self.markers.end)
        emitted = [NO_LABEL if token >= self.rows.starts[0] else token for token in ids]
        return Row(ids, [0] * len(ids), [NO_LABEL] * (start - 1) + emitted[start:] + [NO_LABEL], routed)


class Items(Dataset[Item]):
    """`length` items drawn from the records by weight; map-style, each a function of (seed, index)."""

    def __init__(
        self,
        records: Sequence[Record],
        composer: Composer,
        writer: Writer,
        tasks: Mapping[str, Task],
        settings: Settings,
        cutouts: CutoutIndex | None,
        *,
        seed: int,
        length: int,
        kinds: Sequence[str | None] = ("guided", None),
    ) -> None:
        self.records, self.composer, self.writer, self.tasks = records, composer, writer, tasks
        self.settings, self.cutouts, self.seed, self.length, self.kinds = settings, cutouts, seed, length, kinds

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Item:
        rng = item_rng(self.seed, index)
        chosen = rng.randrange(len(self.records))
        view = plan(self.records, chosen, rng, self.settings, self.cutouts)
        seen = replace(self.records[chosen], captions=view.captions, labelled=view.labelled)
        requests = [self.composer.compose(seen, view.objects, rng, kind) for kind in self.kinds]
        rows = [self.writer.write(request) for request in requests]
        routed = [pair for row in rows for pair in row.routed]
        targets, phrases = {}, {}
        for name, task in self.tasks.items():
            said = [said for task_name, said in routed if task_name == name]
            targets[name] = list(task.targets(_sample(view, said))) if said else []
            phrases[name] = [one.phrase for one in said]
        return Item(view.image_id, view, rows, targets, phrases)


def _sample(view: ViewPlan, said: Sequence[Routed]) -> Sample:
    return Sample(
        image_id=view.image_id,
        size_hw=view.size_hw,
        objects=view.objects,
        phrases=tuple(one.phrase for one in said),
        matches=tuple(one.matches for one in said),
        meanings=tuple(one.meaning for one in said),
    )


class Nested:
    """What stays as it is, nested by image, while a batch's tensors move to the device."""

    def __init__(self, targets: Mapping[str, list[list[Any]]], phrases: Mapping[str, list[list[str]]]) -> None:
        self.targets, self.phrases = targets, phrases


def collate(items: Sequence[Item], pad: int, source: int) -> dict[str, Any]:
    """A batch: view tensors, padded rows (padding on the right, branch -1), and what stays nested by image."""
    rows = [row for item in items for row in item.rows]
    longest = max(len(row.ids) for row in rows)
    return {
        "ids": [item.image_id for item in items],
        "view": collate_plans([item.view for item in items], source=source),
        "tokens": _padded([row.ids for row in rows], longest, pad),
        "branch": _padded([row.branch for row in rows], longest, -1),
        "labels": _padded([row.labels for row in rows], longest, NO_LABEL),
        "image_of": torch.tensor([k for k, item in enumerate(items) for _ in item.rows]),
        "nested": Nested(
            {name: [item.targets[name] for item in items] for name in items[0].targets},
            {name: [item.phrases[name] for item in items] for name in items[0].phrases},
        ),
    }


def _padded(rows: Sequence[Sequence[int]], length: int, fill: int) -> Tensor:
    return torch.tensor([[*row, *[fill] * (length - len(row))] for row in rows])
