"""Detection as a task of a whole model: what it declares, what it answers, and that its faults stay its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from chiasm.model import Model
from chiasm.result import Result
from chiasm_plugins.detection.decoder import DetectionDecoder
from chiasm_plugins.detection.task import Detection, chiasm_tasks
from chiasm_registry import Box, Boxes, CoreInfo, Decoder, Route, Scene, ScoredBox, Task
from core.tiny import NAMES, EchoTask, LevelTask, picture, talkative, tiny_model

torch.set_num_threads(1)

TASKS = ("detection", "level", "echo")


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model([Detection(), LevelTask(), EchoTask()])


def test_the_plugin_brings_one_task() -> None:
    (task,) = chiasm_tasks()
    assert (task.spec.name, task.spec.token, task.spec.embeddings, task.spec.output) == ("detection", "[DET]", 4, Boxes)
    assert task.spec.needs_image


def test_declaring_it_loads_no_torch() -> None:
    code = "import sys, chiasm_plugins.detection; assert not {'torch', 'numpy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("trunk", [False, True], ids=["plain InternViT", "trunk"])
def test_any_core_detects(trunk: bool) -> None:
    """Boxes lie in the picture, best first for each name, at most as many as are asked for."""
    core = tiny_model([Detection()], trunk=trunk)
    result = core.detect(picture(90, 50), NAMES, threshold=0, max_objects=30)
    assert len(result.objects) == 30
    assert all(len(output.items) <= 30 for output in result.outputs["detection"])  # type: ignore[attr-defined]
    for thing in result.objects:
        assert thing.box is not None
        x0, y0, x1, y1 = thing.box.xyxy
        assert 0 <= x0 < x1 <= 90
        assert 0 <= y0 < y1 <= 50
    assert core.detect(picture(90, 50), NAMES, threshold=1).objects == ()


def scores(result: Result, name: str) -> list[float]:
    (output,) = [o for o in result.outputs["detection"] if o.phrase == name]
    return [item.score for item in output.items]  # type: ignore[attr-defined]


def test_a_phrase_is_judged_alike_in_any_company(model: Model) -> None:
    """Alone, among eighty, backwards: the same scores to 1e-4."""
    many = [*NAMES, *(f"thing number {k}" for k in range(80 - len(NAMES)))]
    among = model.detect(picture(), many, threshold=0)
    backwards = model.detect(picture(), many[::-1], threshold=0)
    for name in many[:10]:
        wanted = scores(among, name)
        assert scores(backwards, name) == pytest.approx(wanted, abs=1e-4)
        assert scores(model.detect(picture(), [name], threshold=0), name) == pytest.approx(wanted, abs=1e-4)


def test_a_batch_of_eight_equals_eight_calls() -> None:
    """Mixed sizes and prompts, what is said and where the boxes are: to 0.05 pixels."""
    chatty = talkative(tiny_model([Detection(), LevelTask()]))
    sizes = [(60, 40), (200, 50), (33, 171), (56, 56), (1, 9), (90, 90), (300, 70), (64, 48)]
    prompts = ["Find the dog.", "What is in the picture?", "Hi", "cup?", "Where is it? " * 9, "bus", "dog", "cat"]
    images = [picture(*size, seed=k) for k, size in enumerate(sizes)]
    settings: dict[str, Any] = {"threshold": 0.0, "max_objects": 5, "max_new_tokens": 24}
    together = chatty.ask(images, prompts, **settings)
    found = 0
    for image, prompt, result in zip(images, prompts, together, strict=True):
        alone = chatty.ask(image, prompt, **settings)
        assert alone.text == result.text
        assert len(alone.objects) == len(result.objects)
        for one, other in zip(alone.objects, result.objects, strict=True):
            assert one.label == other.label
            assert one.box.xyxy == pytest.approx(other.box.xyxy, abs=0.05)  # type: ignore[union-attr]
        found += len(alone.objects)
    assert found


# Faults.


class Faulty(Detection):
    """Detection whose decoder does what it is told instead."""

    def __init__(self, deed: Callable[[DetectionDecoder, Scene, Sequence[Route]], Any]) -> None:
        self.deed = deed

    def decoder(self, core: CoreInfo) -> Decoder:
        made, deed = DetectionDecoder(core), self.deed
        made.decode = lambda scene, routes: deed(made, scene, routes)  # type: ignore[method-assign,assignment]
        return made


def honest(decoder: DetectionDecoder, scene: Scene, routes: Sequence[Route]) -> Any:
    return DetectionDecoder.decode(decoder, scene, routes)


def raising(error: BaseException) -> Callable[..., Any]:
    def deed(*_: Any) -> Any:
        raise error

    return deed


def not_a_number(*args: Any) -> Any:
    """NaN where validation never looks."""
    broken = ScoredBox.model_construct(box=Box.model_construct(xyxy=(0.0, 0.0, float("nan"), 1.0)), score=float("nan"))
    return [Boxes.model_construct(items=(broken,)) for _ in args[2]]


def nan_weights(decoder: DetectionDecoder, scene: Scene, routes: Sequence[Route]) -> Any:
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.fill_(float("nan"))
    return honest(decoder, scene, routes)


def too_many(*args: Any) -> Any:
    one = ScoredBox(box=Box(xyxy=(0.0, 0.0, 1.0, 1.0)), score=0.5)
    return [Boxes(items=(one,) * 10_001) for _ in args[2]]


def outside(*args: Any) -> Any:
    return [Boxes(items=(ScoredBox(box=Box(xyxy=(0.0, 0.0, 9e9, 1.0)), score=0.5),)) for _ in args[2]]


def spoiling(decoder: DetectionDecoder, scene: Scene, routes: Sequence[Route]) -> Any:
    """Answers, after it has ruined everything that it was handed."""
    answers = honest(decoder, scene, routes)
    for tensor in (*scene.maps, scene.pixels(8), *(t for r in routes for t in (r.slots, r.embeddings))):
        tensor.fill_(1e6)
    scene.memo.clear()
    return answers


def slow(decoder: DetectionDecoder, scene: Scene, routes: Sequence[Route]) -> Any:
    time.sleep(0.15)
    return honest(decoder, scene, routes)


FAULTS: dict[str, Callable[..., Any]] = {
    "raises": raising(ValueError("at <object at 0x7f0123456789>\nsecond line")),
    "leaves": raising(SystemExit(0)),
    "out of memory": raising(MemoryError()),
    "None": lambda *_: None,
    "a generator": lambda d, s, r: (answer for answer in honest(d, s, r)),
    "wrong type": lambda d, s, r: [5] * len(r),
    "too few": lambda d, s, r: honest(d, s, r)[:-1],
    "NaN": not_a_number,
    "too many": too_many,
    "outside": outside,
}
HARMLESS: dict[str, Callable[..., Any]] = {"mutated inputs": spoiling, "slow": slow, "NaN weights": nan_weights}


def faulty(deed: Callable[..., Any]) -> Model:
    tasks: list[Task] = [Faulty(deed), LevelTask(), EchoTask()]
    made = tiny_model(tasks)
    return made


def others(result: Result) -> dict[str, Any]:
    return {name: given for name, given in result.outputs.items() if name != "detection"}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_detection_is_one_line_and_nothing_else(model: Model, fault: str) -> None:
    """The other tasks' outputs are bit-identical, the notice is one line, the model can be asked again."""
    wanted = model.run(TASKS, picture(), NAMES)
    broken = faulty(FAULTS[fault])
    for _ in range(2):
        result = broken.run(TASKS, picture(), NAMES)
        assert others(result) == others(wanted)
        assert result.objects == ()
        assert result.outputs["detection"] == ()
        assert result.notices
        for notice in result.notices:
            assert notice.task == "detection"
            assert notice.text.isprintable()
            assert len(notice.text) <= 400
            assert "0x7f" not in notice.text


@pytest.mark.parametrize("deed", HARMLESS)
def test_what_detection_does_to_its_copies_reaches_nobody(model: Model, deed: str) -> None:
    wanted = model.run(TASKS, picture(), NAMES)
    spoilt = faulty(HARMLESS[deed])
    for _ in range(2):
        assert others(spoilt.run(TASKS, picture(), NAMES)) == others(wanted)


def test_a_slow_decoder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    late = faulty(slow)
    object.__setattr__(late, "limits", type(late.limits)(decode_s=0.05))
    result = late.run(TASKS, picture(), ["dog"])
    assert [notice.task for notice in result.notices] == ["detection"]
    assert "took 0." in result.notices[0].text
    assert len(result.outputs["detection"]) == 1


def test_an_interrupt_is_the_users(model: Model) -> None:
    with pytest.raises(KeyboardInterrupt):
        faulty(raising(KeyboardInterrupt())).run(TASKS, picture(), NAMES)
