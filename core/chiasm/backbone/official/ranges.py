"""What a value of a configuration may be; each says itself, for the message that refuses another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`."""

    low: int
    high: int
    none: bool = False

    def fits(self, value: Any) -> bool:
        return (value is None and self.none) or (type(value) is int and self.low <= value <= self.high)

    def __str__(self) -> str:
        return f"a whole number from {self.low} to {self.high}"


@dataclass(frozen=True)
class Real:
    """A finite number from `low` to `high`."""

    low: float
    high: float

    def fits(self, value: Any) -> bool:
        return type(value) in (int, float) and math.isfinite(value) and self.low <= value <= self.high

    def __str__(self) -> str:
        return f"a number from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def fits(self, value: Any) -> bool:
        return type(value) is bool

    def __str__(self) -> str:
        return "true or false"


@dataclass(frozen=True)
class Off:
    """False: what would be another network is not there."""

    def fits(self, value: Any) -> bool:
        return value is False

    def __str__(self) -> str:
        return "false"


@dataclass(frozen=True)
class Word:
    """One of some words."""

    words: tuple[str, ...]

    def fits(self, value: Any) -> bool:
        return isinstance(value, str) and value in self.words

    def __str__(self) -> str:
        return f"one of {', '.join(self.words)}"


@dataclass(frozen=True)
class Text:
    """A short text, or null."""

    def fits(self, value: Any) -> bool:
        return value is None or (isinstance(value, str) and len(value) <= 4096)

    def __str__(self) -> str:
        return "a short text"


@dataclass(frozen=True)
class Several:
    """What `one` takes, or a list of whole numbers that it takes."""

    one: Whole

    def fits(self, value: Any) -> bool:
        if isinstance(value, list):
            return all(item is not None and self.one.fits(item) for item in value)
        return self.one.fits(value)

    def __str__(self) -> str:
        return f"{self.one}, or a list of such"


@dataclass(frozen=True)
class Every:
    """A list, each of which `one` takes, or null."""

    one: Word

    def fits(self, value: Any) -> bool:
        return value is None or (isinstance(value, list) and all(map(self.one.fits, value)))

    def __str__(self) -> str:
        return f"a list, each {self.one}"


@dataclass(frozen=True)
class Part:
    """An object that is read by itself, or null."""

    def fits(self, value: Any) -> bool:
        return value is None or isinstance(value, dict)

    def __str__(self) -> str:
        return "an object"


Rule = Whole | Real | Flag | Off | Word | Text | Several | Every | Part
