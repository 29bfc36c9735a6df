"""Rules on how a task behaves in a process that it shares."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from ..contract import CoreInfo, Decoder, Route, Scene
from ..dispatch import dispatch
from ..errors import shown
from ..geometry import Point
from ..leftovers import Leftovers
from ..outputs import Output, Points, ScoredPoint
from ..spec import TaskSpec
from ..state import Snapshot
from ..table import TaskTable
from ..task import Task
from .bench import Bench
from .rule import BrokenRuleError


class Neighbour(Task):
    """Another task: its answers show every number that reaches it."""

    spec = TaskSpec(name="kit_neighbour", token="[KIT_NEIGHBOUR]", embeddings=2, output=Points, summary="a neighbour")

    def decoder(self, core: CoreInfo) -> Decoder:
        """A decoder without weights."""
        return _NeighbourDecoder()


class _NeighbourDecoder:
    def decode(self, scene: Scene, routes: Sequence[Route]) -> Sequence[Output]:
        level = float(sum(grid.double().abs().sum() for grid in scene.maps)) % scene.size_hw[1]
        scores = [float(route.slots.double().sum().sigmoid()) for route in routes]
        return [Points(items=(ScoredPoint(point=Point(xy=(level, 0.0)), score=score),)) for score in scores]


def check_inputs(bench: Bench) -> None:
    """The tensors, the options and the phrase that a decoder is handed are the same behind the call."""
    scene, routes = bench.scene(), bench.asked(bench.phrases)
    tensors = [*scene.maps, *(t for route in routes for t in (route.slots, route.embeddings))]
    before = [tensor.clone() for tensor in tensors]
    words = [(route.phrase, repr(route.options)) for route in routes]
    bench.decoded(bench.kept, scene, routes)
    if any(not _same(one, other) for one, other in zip(before, tensors, strict=True)):
        raise BrokenRuleError("decode() changes the tensors that it was handed")
    if words != [(route.phrase, repr(route.options)) for route in routes]:
        raise BrokenRuleError("decode() changes a route's phrase or options")


def check_state(bench: Bench) -> None:
    """Process-wide state is the same behind the building of a decoder and behind its call."""
    import torch

    with torch.random.fork_rng(devices=[]):
        before = Snapshot()
        bench.task.decoder(bench.core.info())
        # A decoder's first weights are drawn from the generators, as torch's own layers draw them.
        built = [name for name in before.put_back() if not name.startswith("random generator")]
    if built:
        raise BrokenRuleError(f"decoder() changes the {built[0]}")
    scene, routes, decoder = bench.scene(), bench.asked(bench.phrases), bench.kept
    with torch.no_grad():
        before = Snapshot()
        decoder.decode(scene, routes)
        called = before.put_back()
    if called:
        raise BrokenRuleError(f"decode() changes the {called[0]}")


def check_leftovers(bench: Bench) -> None:
    """No thread, file, child process or hook stays behind building and calling a decoder."""
    bench.answers(bench.kept, bench.phrases)  # what a library opens once and for all is no fault of the task
    before, here = Leftovers(bench.home), set(os.listdir())
    bench.answers(bench.decoder(), bench.phrases)
    if left := before.new():
        raise BrokenRuleError(f"it leaves {left[0]} behind")
    if written := sorted(set(os.listdir()) - here):
        raise BrokenRuleError(f"it writes {shown(written[0], 40)} into the working directory")


def check_beside(bench: Bench) -> None:
    """Another task answers the same to the bit, with this one beside it and without."""
    neighbour = Neighbour()
    alone = _beside(bench, {neighbour.spec.name: neighbour})
    both = _beside(bench, {neighbour.spec.name: neighbour, bench.task.spec.name: bench.task})
    if alone != both:
        raise BrokenRuleError("another task's answers change when this one is asked beside it")


def _beside(bench: Bench, tasks: dict[str, Task]) -> list[Any]:
    """All that the neighbour's answers say."""
    info, mine = bench.core.info(), bench.task.spec.name
    decoders = {name: bench.kept if name == mine else task.decoder(info) for name, task in tasks.items()}
    asked = [(Neighbour.spec, None), (bench.task.spec, bench.task.spec.options(**bench.options))]
    routes = [
        route
        for spec, options in asked
        if spec.name in tasks
        for route in bench.core.routes(spec, bench.picture, bench.phrases, options=options)
    ]
    scene = bench.core.scene(bench.picture)
    answers = dispatch(TaskTable.build(tasks.values()), decoders, scene, routes, max_items=10_000, time_limit_s=None)
    own = answers[: len(bench.phrases)]
    return [(a.model_dump_json(), list(a.found()), a.is_empty()) if isinstance(a, Output) else a.text for a in own]


def _same(one: Any, other: Any) -> bool:
    import torch

    return torch.equal(one, other)
