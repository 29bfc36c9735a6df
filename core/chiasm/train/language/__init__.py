"""What people say, as packaged data: phrasings, names, nouns. Lines starting with # in a .txt are comments."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

T = TypeVar("T")
Phrasing = tuple[tuple[str, ...], ...]  # a template in parts; each part is drawn from its choices


@cache
def lines(name: str) -> tuple[str, ...]:
    """The entries of a packaged word list."""
    text = files(__package__).joinpath(name).read_text(encoding="utf-8")
    return tuple(row.strip() for row in text.splitlines() if row.strip() and not row.startswith("#"))


@cache
def table(name: str) -> Any:
    """The contents of a packaged YAML file."""
    import yaml

    return yaml.safe_load(files(__package__).joinpath(name).read_text(encoding="utf-8"))


def phrasing(template: str) -> Phrasing:
    """`template` in parts: "(a|b|) c" is drawn as "a c", "b c" or " c"; there is no nesting."""
    pieces = re.split(r"\(([^()]*\|[^()]*)\)", template)
    return tuple(tuple(piece.split("|")) if at % 2 else (piece,) for at, piece in enumerate(pieces) if piece)


@cache
def phrasings(name: str, group: str | int) -> tuple[Phrasing, ...]:
    """The templates of one group of a file."""
    return tuple(phrasing(template) for template in _templates(table(name)[group]))


@cache
def phrased_lines(name: str) -> tuple[Phrasing, ...]:
    """The templates of a packaged list, one a line."""
    return tuple(phrasing(template.rstrip(".?!")) for template in lines(name))  # `finish` sets the end mark


def _templates(group: Any) -> list[str]:
    return list(group["ask"] if isinstance(group, dict) else group)


def draw(template: Phrasing, rng: random.Random) -> str:
    """One reading of a template, its slots still open."""
    return "".join(part[0] if len(part) == 1 else pick(part, rng) for part in template)


def pick(choices: Sequence[T], rng: random.Random) -> T:
    """One of `choices`; `random.choice` costs twice as much."""
    return choices[int(rng.random() * len(choices))]


def texts_in(value: Any) -> Iterator[str]:
    """Every text of a table, however deep."""
    if isinstance(value, str):
        yield value
        return
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts_in(part)
