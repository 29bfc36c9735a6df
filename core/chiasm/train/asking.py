"""Which things a request names, given what stands in the picture; absent only if the labels say so."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING

from .language import pick, table
from .words import Word, Words

if TYPE_CHECKING:
    from chiasm_registry.contract import SampleObject

    from .data import Record
    from .mix import Mix

COLOURS = "red|blue|green|yellow|black|white|brown|orange|pink|purple|gray|grey|silver|golden|tan|beige"
COLOURED = re.compile(rf"\b((?:{COLOURS})(?:(?:,| and|,? and) (?:{COLOURS}))*) ([a-z]+)\b ?([a-z]*)")


class Facts:
    """What is true of one view of a record."""

    def __init__(self, record: Record, objects: Sequence[SampleObject], names: tuple[str, ...]) -> None:
        self.objects = objects
        self.captions = record.captions
        self.complete = record.labelled is None or record.labelled >= set(names)
        self.labelled = None if self.complete else record.labelled
        found: dict[str, list[int]] = {}
        for at, item in enumerate(objects):
            found.setdefault(item.name, []).append(at)
        self.by_name = {name: tuple(at) for name, at in found.items()}
        self.present = tuple(self.by_name)

    @cached_property
    def said(self) -> frozenset[str]:
        """The words of the captions, lower case."""
        return frozenset(re.findall(r"[a-z]+", " ".join(self.captions).lower()))

    @cached_property
    def coloured(self) -> list[tuple[str, str]]:
        """(colours, thing) as the captions have them: ("red", "bus")."""
        found: list[tuple[str, str]] = []
        follows = table("seen.yaml")["follows"]
        for caption in self.captions:
            for colours, thing, after in COLOURED.findall(caption.lower()):
                found.append((colours, f"{thing} {after}".strip()))
                if after in follows:
                    found.append((colours, thing))
        return found

    def matches(self, word: Word) -> tuple[int, ...]:
        """Indices of the objects that `word` means."""
        if len(word.names) == 1:
            return self.by_name.get(word.names[0], ())
        return tuple(sorted(at for name in word.names for at in self.by_name.get(name, ())))

    def covers(self, names: Sequence[str]) -> bool:
        """Whether all objects of these names are labelled."""
        return self.labelled is None or self.labelled.issuperset(names)

    def askable(self, word: Word) -> bool:
        """Whether `matches(word)` is the whole truth: all it means is labelled, and nothing unlabelled is likely."""
        if not word.names:
            return not any(part in self.said for part in word.text.lower().split()[-1:])
        return self.covers(word.names) and (not word.open or any(name in self.by_name for name in word.names))


class Asker:
    """Draws words to ask for; knows which categories stand together."""

    def __init__(self, words: Words, records: Sequence[Record], mix: Mix) -> None:
        self.words = words
        self.mix = mix
        self._beside = _neighbours(words.names, records)
        self._sizes = list(accumulate(mix.find_sizes))
        self._sources = list(accumulate((mix.present, mix.absent, mix.unknown, mix.invented)))

    def find(self, facts: Facts, rng: random.Random) -> list[Word]:
        """One to six different words, of things that are there and of things that are not."""
        roll = rng.random() * self._sizes[-1]
        size = 1 + sum(roll >= edge for edge in self._sizes[:-1])
        found: list[Word] = []
        taken: set[str] = set()  # words, and what they mean: few people ask for the same thing twice
        for _ in range(4 * size):
            unlabelled = self.mix.unlabelled and rng.random() < self.mix.unlabelled
            word = self.words.anything(rng) if unlabelled else self.any_word(facts, rng)
            meant = {word.text.lower(), word.plural.lower(), *(word.names if rng.random() < 0.9 else ())}
            if not taken & meant:
                found.append(word)
                taken |= meant | set(word.names)
            if len(found) == size:
                break
        return found or [self.words.invented(rng)]

    def any_word(self, facts: Facts, rng: random.Random) -> Word:
        """A word by the mix's sources that can be asked truthfully."""
        for _ in range(8):
            roll = rng.random() * self._sources[-1]
            if roll < self._sources[0]:
                word = self._coloured(facts, rng) if rng.random() < self.mix.coloured else None
                word = word or self._dressed(self.present(facts, rng), rng, self.mix.canonical, facts)
            elif roll < self._sources[1]:
                word = self._dressed(self.absent(facts, rng), rng, self.mix.canonical, facts)
                if word and word.number == "count" and rng.random() < self.mix.coloured_absent:
                    word = self.words.with_quality(word, rng)
            else:
                word = self.words.unknown(rng) if roll < self._sources[2] else self.words.invented(rng)
            if word is not None and facts.askable(word):
                return word
        return self.words.invented(rng)

    def _coloured(self, facts: Facts, rng: random.Random) -> Word | None:
        """ "red bus", where a caption says so of the only bus."""
        for colours, thing in facts.coloured:
            word = self.words.by_text.get(thing)
            if word and len(facts.matches(word)) == 1 and facts.askable(word):
                return Word(f"{colours} {word.text}", f"{colours} {word.plural}", word.names)
        return None

    def guided(self, facts: Facts, count: int, rng: random.Random) -> list[tuple[Word, str]]:
        """`count` different phrases with their words, shuffled."""
        found: dict[str, Word] = {}
        names = [name for name in facts.present if facts.covers((name,)) and name in self.words.canonical]
        rng.shuffle(names)
        for name in names[: self.mix.guided_present]:
            self._add(found, self._dressed(name, rng, self.mix.guided_canonical, facts), rng)
        for _ in range(6 * count):
            if len(found) >= count:
                break
            roll = rng.random()
            word = self.words.unknown(rng) if roll < self.mix.guided_unknown / 2 else None
            if word is None and roll < self.mix.guided_unknown:
                word = self.words.invented(rng)
            word = word or self._dressed(self.absent(facts, rng), rng, self.mix.guided_canonical, facts)
            if word is not None and facts.askable(word):
                self._add(found, word, rng)
        while len(found) < count:
            self._add(found, self.words.invented(rng), rng)
        items = [(word, text) for text, word in found.items()]
        rng.shuffle(items)
        return items

    def _add(self, found: dict[str, Word], word: Word | None, rng: random.Random) -> None:
        if word is None:
            return
        text = word.plural if rng.random() < self.mix.guided_plural else word.text
        roll = rng.random()
        if roll < 0.06:
            text = text.upper() if roll < 0.01 else text.title() if roll < 0.02 else text[:1].upper() + text[1:]
        found.setdefault(text, word)

    def present(self, facts: Facts, rng: random.Random) -> str | None:
        """A category that is in the picture."""
        names = facts.present
        name = pick(names, rng) if names else None
        return name if name in self.words.canonical else None

    def absent(self, facts: Facts, rng: random.Random) -> str | None:
        """A category that is surely not in the picture, as often as the mix says one that could be."""
        likely = rng.random() < self.mix.likely and facts.present
        for _ in range(8):
            beside = self._beside.get(pick(facts.present, rng)) if likely else None
            name = rng.choices(beside[0], cum_weights=beside[1])[0] if beside else pick(self.words.names, rng)
            if name not in facts.by_name and facts.covers((name,)):
                return name
        return None

    def more(self, facts: Facts, count: int, rng: random.Random) -> tuple[str, ...]:
        """`count` names that are not there, most of them likely; fewer where the labels allow no more.

        Always so many: a list that goes on by chance is one that a model never ends.
        """
        found: list[str] = []
        for _ in range(8 * count):
            name = self.absent(facts, rng) if len(found) < count else None
            found += [name] if name and name not in found else []
        return tuple(found)

    def _dressed(self, name: str | None, rng: random.Random, canonical: float, facts: Facts) -> Word | None:
        """A word for the category: its name, a synonym, a union it belongs to, a word of another language."""
        if name is None:
            return None
        roll = rng.random()
        if roll < self.mix.union:
            unions = [word for word in self.words.unions if name in word.names and facts.askable(word)]
            if unions:
                return pick(unions, rng)
        elif roll < self.mix.union + self.mix.foreign and self.words.foreign[name]:
            return pick(self.words.foreign[name], rng)
        elif name == "person" and roll < 0.25 and (sexed := self._sexed(facts, rng)):
            return sexed
        return self.words.named(name, rng, canonical)

    def _sexed(self, facts: Facts, rng: random.Random) -> Word | None:
        """ "man", "girl": if nobody is there, or the captions leave no doubt about the only person."""
        text, row = pick(tuple(self.words.sexed.items()), rng)
        name = row["of"]
        people = facts.by_name.get(name, ())
        alone = len(people) == 1 and facts.said & set(row["said"]) and not facts.said & set(row["never"])
        if people and not alone:
            return None
        plurals = {"man": "men", "woman": "women", "child": "children"}
        return Word(text, plurals.get(text, text + "s"), (name,))


def _neighbours(names: tuple[str, ...], records: Sequence[Record]) -> dict[str, tuple[list[str], list[float]]]:
    """For each name the others by how often they stand in one picture with it, rare ones lifted."""
    together: dict[str, Counter[str]] = {name: Counter() for name in names}
    alone: Counter[str] = Counter()
    for record in records:
        here = {item.name for item in record.objects} & together.keys()
        alone.update(here)
        for name in here:
            together[name].update(here - {name})
    table: dict[str, tuple[list[str], list[float]]] = {}
    for name, others in together.items():
        rows = [(other, count / alone[other] ** 0.5) for other, count in sorted(others.items())]
        if rows:
            table[name] = ([other for other, _ in rows], list(accumulate(weight for _, weight in rows)))
    return table
