"""Whatever one decoder does, the other routes of the same answer are the same to the bit."""

from __future__ import annotations

import logging
import os
import random
import re
import time
from collections.abc import Callable, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chiasm_registry import (
    Box,
    Boxes,
    Decoder,
    Found,
    InputError,
    Mask,
    Masks,
    Notice,
    Output,
    Route,
    Scene,
    ScoredBox,
    ScoredMask,
    Task,
    TaskSpec,
    TaskTable,
    dispatch,
)

SIZE_HW = (40, 60)
NAN = float("nan")


class Broken(Boxes):
    """The schema of the task whose decoder is broken."""

    level: float = 0.0


def task(name: str, token: str, output: type[Output] = Boxes, after: tuple[str, ...] = (), image: bool = True) -> Task:
    made = Task()
    made.spec = TaskSpec(  # type: ignore[misc]
        name=name, token=token, embeddings=2, output=output, summary="fake", after=after, needs_image=image
    )
    return made


TABLE = TaskTable.build(
    [task("good", "[GOOD]"), task("bad", "[BAD]", Broken), task("late", "[LATE]", Masks, after=("good", "bad"))]
)


class Good:
    """Boxes made of the numbers it is given: a changed bit of the inputs changes its answer."""

    def decode(self, scene: Scene, routes: Sequence[Route]) -> Sequence[Output]:
        level = float(sum(grid.double().sum() for grid in scene.maps) + scene.pixels(4).double().sum()) % 30
        return [
            Boxes(items=(ScoredBox(box=Box(xyxy=(0.0, 0.0, level, float(r.slots.double().sum()) % 40)), score=0.5),))
            for r in routes
        ]


class Bad:
    """Does what it is told."""

    def __init__(self, deed: Callable[[Scene, Sequence[Route]], Any]) -> None:
        self.deed = deed

    def decode(self, scene: Scene, routes: Sequence[Route]) -> Any:
        return self.deed(scene, routes)


def scene() -> Scene:
    generator = torch.Generator().manual_seed(0)
    maps = tuple(torch.rand(3, side, side, generator=generator) for side in (8, 4))
    pixels = torch.rand(3, 4, 4, generator=generator)
    return Scene(size_hw=SIZE_HW, maps=maps, view=lambda size: pixels)


def route(name: str, phrase: str, seed: int = 1) -> Route:
    slots = torch.rand(2, 5, generator=torch.Generator().manual_seed(seed))
    return Route(task=name, phrase=phrase, slots=slots, embeddings=slots + 1)


def answers(decoders: dict[str, Any], routes: Sequence[Route], at: Scene | None = None, **more: Any) -> list[Any]:
    settings = {"max_items": 100, "time_limit_s": None} | more
    return dispatch(TABLE, decoders, at or scene(), routes, **settings)


def boxes(count: int, **changes: Any) -> Broken:
    return Broken.model_construct(items=(ScoredBox(box=Box(xyxy=(0.0, 0.0, 1.0, 1.0)), score=0.5),) * count, **changes)


def misplaced(x0: float, y0: float, x1: float, y1: float) -> Broken:
    return Broken(items=(ScoredBox(box=Box(xyxy=(x0, y0, x1, y1)), score=None),))


def raising(error: BaseException) -> Callable[..., Any]:
    def deed(scene: Scene, routes: Sequence[Route]) -> Any:
        raise error

    return deed


def exhausting(scene: Scene, routes: Sequence[Route]) -> Any:
    return exhausting(scene, routes)


def spoiling(scene: Scene, routes: Sequence[Route]) -> Any:
    for tensor in (*scene.maps, scene.pixels(4), routes[0].slots, routes[0].embeddings):
        tensor.data.zero_()
        tensor.numpy()[:] = NAN
    scene.memo.clear()
    raise ValueError(f"spoilt {scene!r}")


class Own(BaseException):
    """Not even an Exception."""


class Evil(list[Any]):
    """Claims any length, and never ends."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Any:
        return repeat(boxes(1))


FAULTS: dict[str, Callable[[Scene, Sequence[Route]], Any]] = {
    "raises": raising(ValueError("at <object 0x7f0123456789>\nsecond line")),
    "raises for the user": raising(InputError("the threshold 3 is above 1")),
    "raises a long text": raising(InputError("x" * 5000)),
    "leaves": raising(SystemExit(0)),
    "raises its own": raising(Own()),
    "never comes back up": exhausting,
    "gives none": lambda scene, routes: None,
    "gives a generator": lambda scene, routes: (boxes(1) for _ in repeat(0)),
    "gives an endless list": lambda scene, routes: Evil(),
    "gives too few": lambda scene, routes: [],
    "gives too many": lambda scene, routes: [boxes(0), boxes(0)],
    "gives another class": lambda scene, routes: [Boxes()],
    "gives a dictionary": lambda scene, routes: [{"items": []}],
    "gives a tensor": lambda scene, routes: torch.zeros(1, 4),
    "gives a number that is none": lambda scene, routes: [boxes(0, level=NAN)],
    "gives infinity": lambda scene, routes: [boxes(0, level=float("inf"))],
    "gives a text as number": lambda scene, routes: [boxes(0, level="1")],
    "gives a tensor in a field": lambda scene, routes: [boxes(0, level=torch.zeros(10**6))],
    "gives an endless field": lambda scene, routes: [Broken.model_construct(items=repeat(1))],
    "gives too many items": lambda scene, routes: [boxes(101)],
    "gives a million items": lambda scene, routes: [boxes(10**6)],
    "gives a score above one": lambda scene, routes: [
        boxes(0, items=(ScoredBox.model_construct(box=None, score=2.0),))
    ],
    "gives a box left of the image": lambda scene, routes: [misplaced(-1.0, 0.0, 1.0, 1.0)],
    "gives a box below the image": lambda scene, routes: [misplaced(0.0, 0.0, 1.0, 41.0)],
    "gives a box in a view's pixels": lambda scene, routes: [misplaced(0.0, 0.0, 448.0, 448.0)],
    "spoils its inputs": spoiling,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_line_and_the_other_routes_are_the_same_to_the_bit(fault: str) -> None:
    routes = [route("good", "cat", 1), route("bad", "cat", 2), route("good", "dog", 3)]
    alone = answers({"good": Good()}, [routes[0], routes[2]])
    first, notice, second = answers({"good": Good(), "bad": Bad(FAULTS[fault])}, routes)
    assert [first, second] == alone
    assert isinstance(notice, Notice)
    assert notice.task == "bad"
    assert notice.text.startswith("task 'bad' ")
    assert len(notice.text) <= 400
    assert "\n" not in notice.text
    assert not re.search(r"0x[0-9a-f]{5}", notice.text)


def test_an_interrupt_is_the_users_and_comes_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        answers({"bad": Bad(raising(KeyboardInterrupt()))}, [route("bad", "cat")])


def test_the_notice_says_where_a_plugin_failed_and_repeats_an_error_of_ours() -> None:
    (strange,) = answers({"bad": Bad(FAULTS["raises"])}, [route("bad", "cat")])
    assert re.fullmatch(r"task 'bad' failed: ValueError at test_dispatch\.py:\d+", strange.text)
    (ours,) = answers({"bad": Bad(FAULTS["raises for the user"])}, [route("bad", "cat")])
    assert ours.text == "task 'bad' failed: the threshold 3 is above 1"


def test_one_bad_answer_of_a_task_leaves_the_tasks_other_answers() -> None:
    both = answers({"bad": Bad(lambda s, r: [boxes(1), boxes(0, level=NAN)])}, [route("bad", "a"), route("bad", "b")])
    assert isinstance(both[0], Broken)
    assert isinstance(both[1], Notice)


def change_dtype() -> None:
    torch.set_default_dtype(torch.float64)


def change_folder() -> None:
    os.chdir(Path(os.getcwd()).anchor)


def numpy_numbers() -> list[int]:
    state: Any = np.random.get_state()
    numbers: list[int] = state[1].tolist()
    return [*numbers, state[2]]


CHANGES: dict[str, Callable[[], object]] = {
    "default dtype": change_dtype,
    "default device": lambda: torch.set_default_device("meta"),
    "grad mode": lambda: torch.set_grad_enabled(not torch.is_grad_enabled()),
    "random generator of torch": lambda: torch.manual_seed(99),
    "random generator of Python": random.random,
    "random generator of numpy": lambda: np.random.random(),
    "numpy's error settings": lambda: np.seterr(all="raise"),
    "working directory": change_folder,
}


@pytest.mark.parametrize("state", CHANGES)
@pytest.mark.parametrize("then", [boxes(1), ValueError("and fails")], ids=["works", "fails"])
def test_changed_state_is_put_back_and_named_and_changes_no_other_answer(state: str, then: Any) -> None:
    def deed(scene: Scene, routes: Sequence[Route]) -> Any:
        CHANGES[state]()
        if isinstance(then, Exception):
            raise then
        return [then]

    before = (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_rng_state().tolist(), random.getstate())
    folder, settings, numpy_state = os.getcwd(), np.geterr(), numpy_numbers()
    routes = [route("bad", "cat"), route("good", "cat")]
    notices: list[Notice] = []
    bad, good = answers({"good": Good(), "bad": Bad(deed)}, routes, notices=notices)
    after = (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_rng_state().tolist(), random.getstate())
    assert before == after
    assert (folder, settings, numpy_state) == (os.getcwd(), np.geterr(), numpy_numbers())
    assert torch.zeros(1).device.type == "cpu"
    assert [good] == answers({"good": Good()}, routes[1:])
    assert isinstance(bad, Notice if isinstance(then, Exception) else Broken)
    assert [n.text for n in notices] == [f"task 'bad' changed the {state}; put back"]


def test_a_slow_decoder_is_named_and_its_answer_is_kept() -> None:
    def slow(scene: Scene, routes: Sequence[Route]) -> Any:
        time.sleep(0.05)
        return [boxes(1)]

    notices: list[Notice] = []
    (answer,) = answers({"bad": Bad(slow)}, [route("bad", "cat")], time_limit_s=0.01, notices=notices)
    assert isinstance(answer, Broken)
    assert re.fullmatch(r"task 'bad' took 0\.\d s, more than its limit of 0\.01 s", notices[0].text)


def test_the_trace_tells_which_decoder_got_which_token(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "chiasm.plugins"):
        answers({"bad": Bad(lambda s, r: [boxes(1), boxes(0)])}, [route("bad", "a"), route("bad", "b")])
    first, second = caplog.messages
    assert first == f"[BAD]: 2 phrases to {__name__}.Bad"
    assert re.fullmatch(r"\[BAD\]: answered in \d+\.\d{3} s", second)


def test_what_a_decoder_prints_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    answers({"bad": Bad(lambda s, r: print("noise"))}, [route("bad", "cat")])
    assert capsys.readouterr() == ("", "noise\n")


def test_a_task_is_called_once_for_all_its_routes_and_answers_stand_in_the_routes_order() -> None:
    calls: list[list[str]] = []

    def deed(scene: Scene, routes: Sequence[Route]) -> Any:
        calls.append([r.phrase for r in routes])
        return [boxes(len(r.phrase)) for r in routes]

    routes = [route("bad", "a"), route("good", "b"), route("bad", "ccc"), route("bad", "dd")]
    found = answers({"bad": Bad(deed), "good": Good()}, routes)
    assert calls == [["a", "ccc", "dd"]]
    assert [(type(o), o.phrase) for o in found] == [(Broken, "a"), (Boxes, "b"), (Broken, "ccc"), (Broken, "dd")]
    assert [len(o.items) for o in found] == [1, 1, 3, 2]


def test_a_task_sees_what_the_tasks_in_its_after_answered_for_the_same_phrase() -> None:
    seen: dict[str, tuple[Output, ...]] = {}

    def deed(scene: Scene, routes: Sequence[Route]) -> Any:
        seen.update({r.phrase: r.earlier for r in routes})
        return [Masks() for _ in routes]

    routes = [
        route("late", "cat"),
        route("late", "dog"),
        route("good", "dog"),
        route("bad", "cat"),
        route("good", "cat"),
    ]
    decoders = {"good": Good(), "bad": Bad(raising(ValueError())), "late": Bad(deed)}
    found = answers(decoders, routes)
    assert seen == {"cat": (found[4],), "dog": (found[2],)}
    assert seen["dog"][0] is not found[2]


def test_a_memo_is_a_tasks_own_and_lives_as_long_as_the_scene_unless_the_task_failed() -> None:
    def deed(scene: Scene, routes: Sequence[Route]) -> Any:
        scene.memo["calls"] = scene.memo.get("calls", 0) + 1
        return [boxes(scene.memo["calls"])]

    here = scene()
    decoders = {"good": Good(), "bad": Bad(deed)}
    asked = [route("good", "x"), route("bad", "x")]
    assert [len(answers(decoders, asked, here)[1].items) for _ in range(3)] == [1, 2, 3]
    assert here.memo == {"good": {}, "bad": {"calls": 3}}
    answers({"bad": Bad(raising(ValueError()))}, [route("bad", "x")], here)
    assert "bad" not in here.memo


def test_a_decoder_sees_copies_and_computes_without_gradients() -> None:
    here, asked = scene(), route("bad", "x")
    asked.slots.requires_grad_()

    def deed(at: Scene, routes: Sequence[Route]) -> Any:
        assert not torch.is_grad_enabled()
        assert not routes[0].slots.requires_grad
        assert all(mine.data_ptr() != core.data_ptr() for mine, core in zip(at.maps, here.maps, strict=True))
        return [boxes(0)]

    assert isinstance(answers({"bad": Bad(deed)}, [asked], here)[0], Broken)


def test_a_task_without_an_image_gets_no_maps_and_its_places_are_not_measured() -> None:
    def deed(scene: Scene, routes: Sequence[Route]) -> Any:
        assert scene.maps == ()
        return [misplaced(0.0, 0.0, 1e6, 1e6)]

    table = TaskTable.build([task("bad", "[BAD]", Broken, image=False)])
    (answer,) = dispatch(table, {"bad": Bad(deed)}, scene(), [route("bad", "x")], max_items=9, time_limit_s=None)
    assert isinstance(answer, Broken)


def test_rounding_beyond_the_edge_is_clipped() -> None:
    (answer,) = answers({"bad": Bad(lambda s, r: [misplaced(-0.4, -0.5, 60.5, 40.4)])}, [route("bad", "x")])
    assert answer.items[0].box.xyxy == (0.0, 0.0, 60.0, 40.0)


def test_a_mask_of_another_size_is_a_fault() -> None:
    def answer(height: int, width: int) -> Any:
        mask = ScoredMask(mask=Mask.from_numpy(np.ones((height, width), dtype=bool)), score=1.0)
        return answers({"late": Bad(lambda s, r: [Masks(items=(mask,))])}, [route("late", "x")])[0]

    assert isinstance(answer(40, 60), Masks)
    assert "a mask has size (60, 40)" in answer(60, 40).text


def test_found_is_checked_where_the_plugin_is_still_guarded() -> None:
    class Liar(Output):
        def found(self) -> Any:
            return iter([Found(7.0)])

    table = TaskTable.build([task("liar", "[LIAR]", Liar)])
    decoders: dict[str, Decoder] = {"liar": Bad(lambda s, r: [Liar()])}
    (answer,) = dispatch(table, decoders, scene(), [route("liar", "x")], max_items=9, time_limit_s=None)
    assert isinstance(answer, Notice)
    assert "not a float from 0 to 1" in answer.text


@pytest.mark.parametrize("name", ["bad", "nobody"])
def test_a_route_whose_task_is_not_loaded_is_a_notice_and_the_others_are_kept(name: str) -> None:
    first, second = answers({"good": Good()}, [route(name, "x"), route("good", "x")])
    assert isinstance(first, Notice)
    assert "is not loaded" in first.text
    assert isinstance(second, Boxes)


def test_no_routes_no_answers() -> None:
    assert answers({}, []) == []
