"""Training items: one view of one image with what is said about it, as ids, labels and targets. Made in workers.

Item i of a run depends on the seed and on i alone, so that a run can be resumed anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from chiasm_registry import ChiasmError, Sample, Task, TrainingError
from chiasm_registry.errors import shown
from torch.utils.data import Dataset

from ..routing.rows import Rows
from ..routing.sequence import ALONE, Markers, branch_ids
from ..text import Template, Tokenizer, build_prompt, build_turn
from .cutouts import CutoutIndex
from .data import Record
from .requests import Composer, Request, Routed
from .scenes import Settings, ViewPlan, item_rng, plan
from .shapes import Shapes

NO_LABEL = -100


@dataclass
class Row:
    """One image's sequence: a prefix (the image), and branches that all see it; see `branch_mask`.

    `labels` holds at each position the id to predict there, or NO_LABEL; `asked` marks the words of requests.
    """

    ids: list[int] = field(default_factory=list)
    branch: list[int] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    asked: list[bool] = field(default_factory=list)
    routed: list[tuple[str, Routed]] = field(default_factory=list)  # (task, what was routed) in the order of the slots

    def grow(
        self, ids: Sequence[int], parent: int = 0, labels: Sequence[int] | None = None, asked: Sequence[bool] = ()
    ) -> int:
        """Append a branch (the prefix, if nothing stands yet) and return its number; `asked` is of its beginning."""
        number = self.branch[-1] + 1 if self.branch else 0
        self.ids += ids
        self.branch += [number] * len(ids)
        self.parent += [parent] * len(ids)
        self.asked += [*asked, *[False] * (len(ids) - len(asked))]
        self.labels += labels if labels is not None else [NO_LABEL] * len(ids)
        return number


@dataclass(frozen=True)
class Item:
    """One image of a batch; `view` is None where the run is about words alone."""

    image_id: str
    view: ViewPlan | None
    row: Row
    targets: dict[str, list[Any]]  # by task, one a route that is judged, in the order of the row
    phrases: dict[str, list[str]]
    judged: dict[str, list[bool]]  # by task, one a route of the row: whether it has a target


@dataclass(frozen=True)
class Writer:
    """Turns requests into a row; `images` holds the number of context tokens of each image before every request."""

    tokenizer: Tokenizer
    template: Template
    rows: Rows
    markers: Markers
    images: tuple[int, ...]
    instruction: str

    def write(self, requests: Sequence[Request]) -> Row:
        """All requests of one image as branches: conversations, whose answers are learned, and guided phrases."""
        row = Row()
        row.grow(self._common, asked=[token != self.markers.image for token in self._common])
        last = 0  # the conversation that can go on; a branch sees its parent and no further, so it has two turns
        for request in requests:
            if request.prompt is None:
                self._guided(row, request)
            elif request.follows and last:
                self._turn(row, request, self._next(request.prompt), last)
                last = 0
            elif request.image:
                last = self._turn(row, request, self._prompt(request.prompt)[len(self._common) :], 0)
            else:
                self._turn(row, request, self._prompt(request.prompt, image=False), ALONE)
        return row

    @cached_property
    def _common(self) -> list[int]:
        """What every prompt begins with."""
        one, other = self._prompt("a"), self._prompt("b")
        return one[: next(k for k, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1])]

    def _prompt(self, question: str, *, image: bool = True) -> list[int]:
        images = self.images if image else ()
        return list(build_prompt(self.tokenizer, self.template, [(question, None)], images).ids)

    def _guided(self, row: Row, request: Request) -> None:
        """The instruction grows from the image, and each phrase from the instruction; without the image each alone."""
        if not request.image:
            for said in request.answer:
                if isinstance(said, Routed):
                    row.grow(self._prompt(self.instruction, image=False) + self._spelled(row, said), parent=ALONE)
            return
        stem = row.grow(self._prompt(self.instruction)[len(self._common) :])
        for said in request.answer:
            if isinstance(said, Routed):
                row.grow(self._spelled(row, said), parent=stem)

    def _next(self, question: str) -> list[int]:
        """A question behind an answer, without the end of that, which stands there already."""
        return list(build_turn(self.tokenizer, self.template, question, ()).ids[1:])

    def _turn(self, row: Row, request: Request, ids: list[int], parent: int) -> int:
        """A question with its answer as a branch; its number."""
        start = len(ids)
        for said in request.answer:
            ids += self._spelled(row, said) if isinstance(said, Routed) else self.tokenizer.encode_user(said)
        ids.append(self.markers.end)
        emitted = [NO_LABEL if token >= self.rows.starts[0] else token for token in ids]
        labels = [NO_LABEL] * (start - 1) + emitted[start:] + [NO_LABEL]
        return row.grow(ids, parent=parent, labels=labels, asked=[True] * start)

    def _spelled(self, row: Row, said: Routed) -> list[int]:
        row.routed += [(task, said) for task in said.tasks]
        return branch_ids(self.tokenizer.encode_user(said.phrase), said.tasks, self.rows, self.markers)


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
        row = self.writer.write(requests)
        shapes = Shapes(view, self.records, self.cutouts)
        targets, phrases, judged = {}, {}, {}
        for name, task in self.tasks.items():
            routed = [said for task_name, said in row.routed if task_name == name]
            judged[name] = [one.judged for one in routed]
            said = [one for one in routed if one.judged]
            targets[name] = _targets(task, _sample(view, said, shapes, self._stretch(view))) if said else []
            phrases[name] = [one.phrase for one in said]
        return Item(view.image_id, view if self.writer.images else None, row, targets, phrases, judged)

    def _stretch(self, view: ViewPlan) -> float:
        """How many times wider than high a square of the view is in its (first) photograph."""
        tile = view.tiles[0]
        high, wide = self.records[tile.photo].size_hw
        return abs(tile.affine[4]) * wide / (abs(tile.affine[0]) * high)


@contextmanager
def blamed_on(name: str, function: str) -> Iterator[None]:
    """What an author's function raises inside becomes one line that names it; errors of ours pass."""
    try:
        yield
    except ChiasmError:
        raise
    except Exception as error:
        fact = f"{type(error).__name__}: {shown(error, 90)}"
        raise TrainingError(f"task {name!r} cannot be trained: its {function}() failed: {fact}") from error


def _targets(task: Task, sample: Sample) -> list[Any]:
    name = task.spec.name
    with blamed_on(name, "targets"):
        found = list(task.targets(sample))
    if len(found) != len(sample.phrases):
        raise TrainingError(
            f"task {name!r}: targets() gave {len(found)} targets for {len(sample.phrases)} phrases; give one each"
        )
    return found


def _sample(view: ViewPlan, said: Sequence[Routed], shapes: Shapes, stretch: float) -> Sample:
    return Sample(
        image_id=view.image_id,
        size_hw=view.size_hw,
        objects=view.objects,
        phrases=tuple(one.phrase for one in said),
        matches=tuple(one.matches for one in said),
        meanings=tuple(one.meaning for one in said),
        singled=tuple(one.singled for one in said),
        stretch=stretch,
        draw=shapes,
    )
