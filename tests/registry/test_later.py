"""What core asks of an output later is asked behind a guard, and only where the answer is not our own."""

from __future__ import annotations

from typing import Any

import pytest
from chiasm_registry import Box, Boxes, Found, Output, ScoredBox
from chiasm_registry.later import found_in, which_are_empty

BOXES = Boxes(items=(ScoredBox(box=Box(xyxy=(0.0, 0.0, 1.0, 1.0)), score=0.5),))


class Own(Output):
    def found(self) -> Any:
        print("noise")
        return iter([Found(0.25), "no found"])

    def is_empty(self) -> bool:
        print("noise")
        return True


class Turned(Output):
    def found(self) -> Any:
        raise SystemExit(0)

    def is_empty(self) -> bool:
        raise SystemExit(0)


class Stops(Output):
    def found(self) -> Any:
        raise KeyboardInterrupt


def test_each_output_answers_for_itself(capsys: pytest.CaptureFixture[str]) -> None:
    outputs = [BOXES, Own(), Turned(), Output()]
    assert found_in(outputs) == [tuple(BOXES.found()), (Found(0.25),), (), ()]
    assert which_are_empty([*outputs, Boxes()]) == [False, True, False, False, True]
    assert capsys.readouterr().out == ""


def test_ready_kinds_need_no_guard_and_an_interrupt_comes_through() -> None:
    assert found_in([BOXES, Output()]) == [tuple(BOXES.found()), ()]
    assert found_in([]) == []
    with pytest.raises(KeyboardInterrupt):
        found_in([Stops()])
