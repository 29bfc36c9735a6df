"""What core asks of checked outputs later, where no decoder runs any more: a plugin's own methods, guarded once more.

Ready kinds answer by themselves; one guard stands around all the others of a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from .guard import guarded
from .outputs import Boxes, Found, Masks, Output, Points

MAX_FOUND = 10**6  # of one output; `dispatch` has its own, smaller limit

_OUR_FOUND = (Output.found, Boxes.found, Masks.found)
_OUR_IS_EMPTY = (Output.is_empty, Boxes.is_empty, Masks.is_empty, Points.is_empty)


def found_in(outputs: Sequence[Output]) -> list[tuple[Found, ...]]:
    """What each of the outputs yields by `found`; nothing from one that has become another since it was checked."""
    if all(type(output).found in _OUR_FOUND for output in outputs):
        return [tuple(output.found()) for output in outputs]
    home = next(type(output).__module__ for output in outputs if type(output).found not in _OUR_FOUND)
    outcome = guarded(lambda: [_found(output) for output in outputs], "found() of an output", home)
    return outcome.value or [()] * len(outputs)


def which_are_empty(outputs: Sequence[Output]) -> list[bool]:
    """Which of the outputs say by `is_empty` that nothing is there."""
    if all(type(output).is_empty in _OUR_IS_EMPTY for output in outputs):
        return [output.is_empty() for output in outputs]
    home = next(type(output).__module__ for output in outputs if type(output).is_empty not in _OUR_IS_EMPTY)
    outcome = guarded(lambda: [_is_empty(output) for output in outputs], "is_empty() of an output", home)
    return outcome.value or [False] * len(outputs)


def _found(output: Output) -> tuple[Found, ...]:
    try:
        return tuple(found for found in islice(output.found(), MAX_FOUND) if type(found) is Found)
    except KeyboardInterrupt:
        raise
    except BaseException:  # it answered when it was checked
        return ()


def _is_empty(output: Output) -> bool:
    try:
        return output.is_empty() is True
    except KeyboardInterrupt:
        raise
    except BaseException:
        return False
