"""Requests that point to one thing among others, and chains of a question and an order; the view says what is true.

A phrase is only made where no two things could be meant: what is nearly as far left, as large or of unsure colour is
left alone. Frames: boxes of a view, in pixels.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .language import draw, phrasing, pick, table
from .plain import counted
from .verbs import Chain, Verbs
from .wording import FindPrompt, finish, is_question
from .words import Word

if TYPE_CHECKING:
    from chiasm_registry.contract import SampleObject

    from .asking import Asker, Facts

FILE = "refer.yaml"
APART = 0.1  # of the view's side: centres that are less far apart are neither left nor right of each other
LARGER = 1.7  # times the area of the next
HIDDEN = 0.3  # share of a thing under others from which nobody would point to it, or to its like beside it
SURE = 0.03  # of the view's side: by this much the wrong way a rival surely does not fit
AXES = {"left": (0, -1), "right": (0, 1), "top": (1, -1), "bottom": (1, 1)}
SHORT = re.compile(r"[a-z]+( out)? \{names\}( out)?", re.IGNORECASE)  # a phrasing that can follow a question
TRIED = 10
WHICH = 0.6  # of the chains ask which, where the view has an answer; the rest ask how many
PRESENT = 0.7  # of these ask for what is there


@dataclass(frozen=True)
class Referred:
    """A phrase for one object, by its index; `name` is its category."""

    text: str
    match: int
    name: str


@dataclass(frozen=True)
class Chained:
    """A question with an order behind it; the answer is `before`, the phrase with its tasks, `behind`."""

    prompt: str
    before: str
    phrase: str
    matches: tuple[int, ...]
    names: tuple[str, ...]
    behind: str
    chain: Chain


class Referrer:
    """Finds what can be pointed to in a view, and words for it; `side` is the view's, in pixels."""

    def __init__(self, asker: Asker, verbs: Verbs, side: int = 448) -> None:
        self.asker, self.verbs, self.side = asker, verbs, side
        own = {verb: [t for t in verb.spec.phrasings if SHORT.fullmatch(t.rstrip("."))] for verb in verbs.others}
        self._tails = [(verb, tails) for verb, tails in own.items() if tails and verb.spec.needs_image]

    def phrases(self, facts: Facts, most: int, rng: random.Random) -> list[Referred]:
        """Different phrases, each for one object; fewer than `most` where the view has no more to tell apart."""
        found: dict[str, Referred] = {}
        ways = (self._by_place, self._by_place, self._by_size, self._by_neighbour, self._by_colour, self._by_colour)
        for _ in range(TRIED * most):
            if len(found) == most:
                break
            referred = pick(ways, rng)(facts, rng)
            if referred is not None:
                found.setdefault(referred.text, referred)
        return list(found.values())

    @staticmethod
    def prompt(referred: Referred, template: Sequence[tuple[str, ...]], rng: random.Random) -> tuple[str, str]:
        """(a request for the one thing, the phrase to the letter as it stands there)."""
        definite = tuple(tuple(part.replace("{names}", "the {names}") for part in parts) for parts in template)
        word = Word(referred.text, referred.text, (referred.name,), "foreign")
        prompt, (phrase,) = FindPrompt([word], rng).write(definite)
        return prompt, phrase

    def chained(self, facts: Facts, rng: random.Random) -> Chained | None:
        """As «how many cups are there? box them» and «which animal is left of the car? outline it»."""
        chain, tail = self._tail(rng)
        if rng.random() < WHICH:
            for _ in range(TRIED):
                if which := self._which(facts, chain, tail, rng):
                    return which
        prompt, word, matches, told = counted(facts, self.asker, rng, present=rng.random() < PRESENT)
        one = len(matches) == 1 and rng.random() < 0.3
        prompt = self._joined(prompt, _filled(tail, "it" if one else "them"), rng)
        return Chained(prompt, told[0], told[1], matches, word.names, told[2], chain)

    # One way to point each; None where the view does not tell.

    def _several(self, facts: Facts, rng: random.Random, least: int = 2) -> tuple[str, tuple[int, ...]] | None:
        """A name with some objects, no crowd among them, that can be told apart."""
        fitting = [
            (name, at)
            for name, at in facts.by_name.items()
            if len(at) >= least and self._sayable(name, facts) and _clear(facts, at)
        ]
        return pick(fitting, rng) if fitting else None

    def _sayable(self, name: str, facts: Facts) -> bool:
        """A thing one can count, all of which are labelled here."""
        word = self.asker.words.canonical.get(name)
        return word is not None and word.number == "count" and facts.covers((name,))

    def _by_place(self, facts: Facts, rng: random.Random) -> Referred | None:
        found = self._several(facts, rng)
        if found is None:
            return None
        name, at = found
        way = pick(tuple(AXES), rng)
        if len(at) == 3 and rng.random() < 0.3:
            order = sorted(at, key=lambda k: _middle(facts.objects[k])[0])
            xs = [_middle(facts.objects[k])[0] for k in order]
            between = min(xs[1] - xs[0], xs[2] - xs[1]) > APART * self.side
            return self._said(name, order[1], "places", "middle", rng) if between else None
        axis, sign = AXES[way]
        order = sorted(at, key=lambda k: -sign * _middle(facts.objects[k])[axis])
        ahead = sign * (_middle(facts.objects[order[0]])[axis] - _middle(facts.objects[order[1]])[axis])
        return self._said(name, order[0], "places", way, rng) if ahead > APART * self.side else None

    def _by_size(self, facts: Facts, rng: random.Random) -> Referred | None:
        found = self._several(facts, rng)
        if found is None:
            return None
        name, at = found
        order = sorted(at, key=lambda k: _area(facts.objects[k]), reverse=rng.random() < 0.6)
        big = _area(facts.objects[order[0]]) > _area(facts.objects[order[1]])
        low, high = sorted(_area(facts.objects[k]) for k in order[:2])
        way = "biggest" if big else "smallest"
        return self._said(name, order[0], "sizes", way, rng) if high > LARGER * low else None

    def _by_neighbour(self, facts: Facts, rng: random.Random) -> Referred | None:
        found, other = self._several(facts, rng, 1), self._only(facts, rng)
        if found is None or other is None or found[0] == other[0]:
            return None
        way = pick(tuple(AXES), rng)
        match = self._one_that_is(facts, found[1], other[1], way)
        if match is None:
            return None
        data = table(FILE)
        text = draw(phrasing(pick(data["beside"], rng)), rng).replace("{relation}", pick(data["relations"][way], rng))
        thing, beside = (self.asker.words.named(name, rng, 0.7).text for name in (found[0], other[0]))
        return Referred(text.replace("{thing}", thing).replace("{other}", beside), match, found[0])

    def _by_colour(self, facts: Facts, rng: random.Random) -> Referred | None:
        """Among things of one name whose colours are all sure."""
        found = self._several(facts, rng, 1)
        if found is None:
            return None
        colours = {k: getattr(facts.objects[k], "quality", "") for k in found[1]}
        match, colour = pick(tuple(colours.items()), rng)
        if not all(colours.values()) or list(colours.values()).count(colour) > 1:
            return None
        text = draw(phrasing(pick(table(FILE)["coloured"], rng)), rng).replace("{colour}", colour)
        return Referred(text.replace("{thing}", self.asker.words.named(found[0], rng, 0.7).text), match, found[0])

    def _said(self, name: str, match: int, group: str, way: str, rng: random.Random) -> Referred:
        text = draw(phrasing(pick(table(FILE)[group][way], rng)), rng)
        return Referred(text.replace("{thing}", self.asker.words.named(name, rng, 0.7).text), match, name)

    # Chains.

    def _which(self, facts: Facts, chain: Chain, tail: str, rng: random.Random) -> Chained | None:
        """Which of a kind is on that side of the only thing of its name."""
        other = self._only(facts, rng)
        kinds = [word for word in self.asker.words.unions if not word.open and word.number == "count"]
        if other is None or not kinds:
            return None
        kind, way = pick(kinds, rng), pick(tuple(AXES), rng)
        names = [name for name in kind.names if name != other[0]]
        at = [k for name in names for k in facts.by_name.get(name, ())]
        told = _clear(facts, at) and facts.covers(names)
        match = self._one_that_is(facts, at, other[1], way) if told else None
        if match is None or len(facts.by_name[facts.objects[match].name]) > 1:
            return None
        data, name = table(FILE), facts.objects[match].name
        relation, beside = pick(data["relations"][way], rng), self.asker.words.named(other[0], rng, 0.7).text
        text = draw(phrasing(pick(data["which"], rng)), rng).replace("{kind}", kind.text)
        question = text.replace("{relation}", relation).replace("{other}", beside)
        prompt = self._joined(finish([], question, is_question(question), rng)[0], _filled(tail, "it"), rng)
        return Chained(prompt, "The ", name, (match,), (name,), f" is {relation} the {beside}.", chain)

    def _tail(self, rng: random.Random) -> tuple[Chain, str]:
        """An order that can follow a question, and the tasks it asks for."""
        if self._tails and (not self.verbs.finder or rng.random() < 0.55):
            verb, tails = pick(self._tails, rng)
            return verb.chain, pick(tails, rng).rstrip(".").replace("{names}", "{it}")
        return self.verbs.finder, draw(phrasing(pick(table(FILE)["tails"], rng)), rng)

    @staticmethod
    def _joined(question: str, tail: str, rng: random.Random) -> str:
        text = str(pick(table(FILE)["joins"], rng)).replace("{question}", question.rstrip("?.! "))
        shown = tail[:1].upper() + tail[1:] if re.search(r"[?.]\s\{tail\}", text) and rng.random() < 0.6 else tail
        return text.replace("{tail}", shown)

    def _only(self, facts: Facts, rng: random.Random) -> tuple[str, int] | None:
        """A name of which there is exactly one thing, not partly hidden."""
        alone = [
            (name, at[0])
            for name, at in facts.by_name.items()
            if len(at) == 1 and self._sayable(name, facts) and _clear(facts, at)
        ]
        return pick(alone, rng) if alone else None

    def _one_that_is(self, facts: Facts, at: Sequence[int], other: int, way: str) -> int | None:
        """The one of `at` on that side of `other`, if surely no second one is."""
        axis, sign = AXES[way]
        base = _middle(facts.objects[other])
        ahead = {k: sign * (_middle(facts.objects[k])[axis] - base[axis]) / self.side for k in at if k != other}
        aside = {k: abs(_middle(facts.objects[k])[1 - axis] - base[1 - axis]) / self.side for k in ahead}
        fitting = [k for k in ahead if ahead[k] > APART and ahead[k] > 0.8 * aside[k]]
        unsure = [k for k in ahead if k not in fitting and ahead[k] > -SURE]
        return fitting[0] if len(fitting) == 1 and not unsure else None


def _clear(facts: Facts, at: Sequence[int]) -> bool:
    """Whether there is no crowd among things, and none that is mostly hidden."""
    return not any(facts.objects[k].crowd or getattr(facts.objects[k], "hidden", 0.0) > HIDDEN for k in at)


def _filled(tail: str, it: str) -> str:
    return tail.replace("{it}", it).replace("{they are}", "it is" if it == "it" else "they are")


def _middle(thing: SampleObject) -> tuple[float, float]:
    x0, y0, x1, y1 = thing.box_xyxy
    return (x0 + x1) / 2, (y0 + y1) / 2


def _area(thing: SampleObject) -> float:
    x0, y0, x1, y1 = thing.box_xyxy
    return (x1 - x0) * (y1 - y0)
