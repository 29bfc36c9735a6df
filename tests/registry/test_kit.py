"""The kit passes a sound task, and each of its rules is the only one that sees one certain fault.

So taking out any one rule's implementation leaves a fault unseen, and turns its line here red.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
from chiasm_registry import Points
from chiasm_registry.onefile import import_file
from chiasm_registry.testing import (
    RULES,
    Bench,
    Finding,
    Rule,
    TaskSuite,
    bench_of,
    check_bench,
    draw_shapes,
    write_coco,
)

SOUND = '''
    """A sound task: points where a map is like the slots, and a level."""
    from chiasm_registry import Point, Points, ScoredPoint, Task, TaskSpec
    from pydantic import BaseModel, ConfigDict, field_serializer

    class Spots(Points):
        level: float = 0.0

    class SpotOptions(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
        threshold: float = 0.0

    class SpotMetric:
        def __init__(self):
            self.given = 0

        def update(self, outputs, targets):
            self.given += len(outputs)

        def compute(self):
            return {"given": float(self.given)}

    class SpotTask(Task):
        spec = TaskSpec(name="spot", token="[SPOT]", embeddings=2, output=Spots, summary="spots", options=SpotOptions)

        def decoder(self, core):
            import torch
            import torch.nn.functional as F
            from torch import nn

            class SpotDecoder(nn.Module):
                def __init__(self):
                    super().__init__()
                    self.ask = nn.Linear(core.width, core.maps[0].channels)
                    self.read = nn.Linear(core.width, 1)

                def heat(self, scene, slots):
                    return torch.einsum("rc,chw->rhw", self.ask(slots.mean(1)), scene.maps[0])

                def decode(self, scene, routes):
                    if not routes:
                        return []
                    slots = torch.stack([route.slots for route in routes])
                    heat, levels = self.heat(scene, slots), self.read(slots.mean(1))[:, 0].float().tolist()
                    return [self.spots(own, level, scene.size_hw) for own, level in zip(heat, levels)]

                def spots(self, heat, level, size_hw):
                    (h, w), at = heat.shape, int(heat.argmax())
                    x, y = at % w / w * size_hw[1], at // w / h * size_hw[0]
                    spot = ScoredPoint(point=Point(xy=(x, y)), score=float(heat.max().float().sigmoid()))
                    return Spots(items=(spot,), level=level)

                def prepare(self, options, initial):
                    pass

                def loss(self, scenes, routes, targets):
                    slots = [torch.stack([r.slots for r in own]) for own in routes]
                    heat = torch.cat([self.heat(s, o) for s, o in zip(scenes, slots)])
                    truth = torch.tensor([float(t) for own in targets for t in own])
                    levels = self.read(torch.cat(slots).mean(1))[:, 0]
                    off = (heat.amax((1, 2)) - 1) ** 2
                    return {
                        "level": F.binary_cross_entropy_with_logits(levels, truth),
                        "heat": (off * truth).sum() / truth.sum().clamp(min=1),
                    }

            return SpotDecoder()

        def targets(self, sample):
            return [len(own) > 0 for own in sample.matches]

        def metric(self):
            return SpotMetric()

        def draw(self, canvas, output):
            return False
    '''

FAULTS = {  # rule -> what is changed in the sound task, so that this rule alone is broken
    "spec": ('summary="spots"', 'summary="spots", api=">=9"'),
    "light": ("from pydantic import", "import torch\n    from pydantic import"),
    "token": ("[SPOT]", "[MASK]"),
    "empty": ("level: float = 0.0", "level: float = 0.0\n\n        def is_empty(self):\n            return False"),
    "beside": ("if not routes:", "Points.is_empty = lambda self: True\n                    if not routes:"),
    "answers": ("Point(xy=(x, y))", "Point(xy=(2 * x + size_hw[1], y))"),
    "batches": ("level in zip(heat, levels)", "level in zip(heat - heat.mean(0) * 0.5, [sum(levels)] * 9)"),
    "round_trip": (
        "level: float = 0.0",
        'level: float = 0.0\n\n        @field_serializer("level")\n        def coarse(self, level):\n'
        "            return float(round(level))",
    ),
    "scale": ("Point(xy=(x, y))", "Point(xy=(min(x + 40.0, size_hw[1]), y))"),
    "precision": ("at = heat.shape, int(heat.argmax())", "at = heat.shape, int(heat.numpy().argmax())"),
    "seed": (
        "Spots(items=(spot,), level=level)",
        "Spots(items=(spot,), level=level + 1e-6 * __import__('random').SystemRandom().random())",
    ),
    "maps": ("maps[0]", "maps[1]"),
    "losses": ("torch.cat(slots).mean(1)", "torch.stack(slots).flatten(0, 1).mean(1)"),
    "absent": (".sum().clamp(min=1)", ".sum()"),
    "gradients": ("slots = [torch.stack([r.slots for", "slots = [torch.stack([r.slots.detach() for"),
    "metric": ("float(self.given)", 'float("nan")'),
    "saved": (
        "self.spots(own, level, scene",
        "self.spots(own, level + float(self.shift), scene",
    ),
    "drawing": ("return False", "return None"),
    "inputs": ("heat, levels = self.heat", "_ = routes[0].slots.zero_(); heat, levels = self.heat"),
    "state": ("if not routes:", "torch.manual_seed(0)\n                    if not routes:"),
    "leftovers": (
        "if not routes:",
        "rest = lambda: __import__('time').sleep(5)\n"
        "                    __import__('threading').Thread(target=rest, daemon=True).start()\n"
        "                    if not routes:",
    ),
}
ALSO = {
    "saved": (
        "self.read = nn.Linear(core.width, 1)",
        "self.shift, self.read = torch.rand(()), nn.Linear(core.width, 1)",
    )
}


@pytest.fixture(autouse=True)
def _unchanged() -> Iterator[None]:
    """What the fault of `beside` changes is put back."""
    kept = Points.is_empty
    yield
    Points.is_empty = kept  # type: ignore[method-assign]


def bench(folder: Path, *changes: tuple[str, str]) -> Bench:
    text = dedent(SOUND)
    for old, new in changes:
        assert dedent(old) in text
        text = text.replace(old, new.replace("\n    ", "\n"))
    path = folder / "spot.py"
    path.write_text(text)
    module = import_file(str(path), "spot_task")
    return replace(bench_of(module.SpotTask()), module="spot_task", path=str(path))  # type: ignore[attr-defined]


def broken(findings: list[Finding]) -> dict[str, str]:
    return {finding.rule: finding.reason for finding in findings if finding.verdict == "failed"}


def test_a_sound_task_keeps_every_rule_and_every_rule_is_asked(tmp_path: Path) -> None:
    assert [(f.rule, f.verdict, f.reason) for f in check_bench(bench(tmp_path))] == [(r.name, "ok", "") for r in RULES]


def test_there_is_a_fault_for_every_rule() -> None:
    assert set(FAULTS) == {rule.name for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_one_fault_is_seen_by_one_rule_alone_and_its_reason_has_the_cure(rule: Rule, tmp_path: Path) -> None:
    changes = [FAULTS[rule.name], *([ALSO[rule.name]] if rule.name in ALSO else [])]
    faulty = bench(tmp_path, *changes)
    # Only what the file imports shows in `light`, and each try takes an interpreter.
    asked = [one for one in RULES if one.name != "light" or rule.name == "light"]
    found = broken(check_bench(faulty, asked))
    assert set(found) == {rule.name}, found
    assert found[rule.name].endswith(rule.cure)
    assert "\n" not in found[rule.name]


@pytest.mark.parametrize(("share", "verdict"), [(0.9999, "ok"), (0.9, "failed")])
def test_asked_alone_only_items_of_nearly_equal_score_may_change_places(
    share: float, verdict: str, tmp_path: Path
) -> None:
    second = f"ScoredPoint(point=Point(xy=(0.0, 0.0)), score={share} * spot.score)"
    two = ("items=(spot,)", f"items=(spot, {second})[:: 1 if self.several else -1]")
    count = ("if not routes:", "self.several = len(routes) > 1\n                    if not routes:")
    (rule,) = (rule for rule in RULES if rule.name == "batches")
    (finding,) = check_bench(bench(tmp_path, two, count), [rule])
    assert finding.verdict == verdict


def test_a_fault_of_any_kind_fails_a_rule_and_an_interrupt_comes_through(tmp_path: Path) -> None:
    dies = bench(tmp_path, ("if not routes:", "raise SystemExit(0)\n                    if not routes:"))
    assert broken(check_bench(dies))["answers"].startswith("it raised SystemExit at spot.py:")
    stops = bench(tmp_path, ("if not routes:", "raise KeyboardInterrupt\n                    if not routes:"))
    with pytest.raises(KeyboardInterrupt):
        check_bench(stops)


def test_a_suite_has_a_test_for_every_rule_and_fails_with_the_promise(tmp_path: Path) -> None:
    faulty = bench(tmp_path, FAULTS["drawing"])

    class Suite(TaskSuite):
        task = faulty.task

    assert [name for name in vars(TaskSuite) if name.startswith("test_")] == [f"test_{rule.name}" for rule in RULES]
    Suite().test_spec()  # type: ignore[attr-defined]
    with pytest.raises(AssertionError, match=r"draw\(\) says whether it drew: draw\(\) returned a NoneType"):
        Suite().test_drawing()  # type: ignore[attr-defined]


def test_the_fixtures_of_the_kit_are_there(
    tiny_core: object, no_plugins: None, drawn_shapes: list[object], coco_shapes: Path
) -> None:
    from chiasm_registry import discover

    assert {info.status for info in discover().plugins} == {"disabled"}
    described = json.loads(coco_shapes.read_text())
    assert len(drawn_shapes) == len(described["images"]) == 8
    assert all((coco_shapes.parent / "images" / image["file_name"]).is_file() for image in described["images"])


def test_drawn_shapes_are_what_they_say(tmp_path: Path) -> None:
    (one,) = draw_shapes(1, size_hw=(60, 80), names=("a", "b", "c"), seed=3)
    sample = one.sample("x", ("a", "nothing"))
    assert one.picture.size == (80, 60)
    assert {thing.name for thing in one.objects} <= {"a", "b", "c"}
    assert [sample.objects[k].name for k in sample.matches[0]] == ["a"] * len(sample.matches[0])
    assert sample.matches[1] == ()
    for thing in one.objects:
        assert thing.mask is not None
        assert thing.mask.box().xyxy == thing.box_xyxy  # type: ignore[union-attr]
    assert draw_shapes(1, size_hw=(60, 80), names=("a", "b", "c"), seed=3)[0].objects == one.objects
    assert write_coco([one], tmp_path).name == "instances.json"
