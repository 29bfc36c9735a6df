"""The words people use for things: names, synonyms, unions of names, words for nothing we know. It knows no picture."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal

from .language import lines, pick, table
from .otherwords import other_words

Number = Literal["count", "plural", "pair", "mass", "pronoun", "proper", "foreign"]


@dataclass(frozen=True)
class Word:
    """One way to call something; `names` are the categories it means, `()` if it is none of ours."""

    text: str
    plural: str
    names: tuple[str, ...] = ()
    number: Number = "count"
    open: bool = False  # has members that nobody labels: it never counts as absent

    @property
    def judged(self) -> bool:
        """Whether anybody can know what of it is there."""
        return bool(self.names) or not self.open


def pluralise(text: str) -> str:
    """The plural of a noun phrase by rule; exceptions stand in names.yaml."""
    head, space, last = text.rpartition(" ")
    known = table("names.yaml")["plural"]
    if text in known or last in known:
        return str(known[text]) if text in known else head + space + str(known[last])
    if last.endswith(("s", "x", "z", "ch", "sh")):
        return text + "es"
    if last.endswith("y") and last[-2:-1].lower() not in "aeiou":
        return text[:-1] + "ies"
    return text + "s"


def article(text: str) -> str:
    """ "a" or "an", by sound."""
    first = text.split()[0] if text.strip() else text
    if first.isupper() or (len(first) > 1 and not first[1].isalpha() and first[0].isalpha()):
        return "an" if first[0] in "AEFHILMNORSXaefhilmnorsx8" else "a"
    low = first.lower()
    if low.startswith(("uni", "use", "uk", "eu", "ufo", "one", "uto")):
        return "a"
    return "an" if low[:1] in tuple("aeiou8") or low.startswith(("hour", "honest")) else "a"


class Words:
    """Every word by what it means, for one set of category names."""

    def __init__(self, names: Sequence[str], said: frozenset[str] = frozenset()) -> None:
        """`said`: words that people do say (of captions), so that none of them is taken for an invention."""
        data = table("names.yaml")
        self.names = tuple(names)
        self.canonical = {name: _word(name, (name,), data) for name in names}
        self.same = {name: [_word(text, (name,), data) for text in data["same"].get(name, ())] for name in names}
        for name in names:
            self.same[name] += [_pronoun(text, name, data) for text in data["pronouns"].get(name, ())]
        self.foreign = {
            name: [Word(text, text, (name,), "foreign") for text in data["other"].get(name, ())] for name in names
        }
        self.unions = [_union(text, row, data) for text, row in data["unions"].items() if set(row["of"]) <= set(names)]
        self.sexed = {text: row for text, row in data["sexed"].items() if row["of"] in self.canonical}
        self.meant = self._meant()
        self.held_out = frozenset(word.lower() for word in lines("heldout.txt"))
        self.taken = self.meant | said | self.held_out  # no invention is any of these
        self.by_text = {text: word for word in self._known() for text in (word.text, word.plural)}
        self.singular = {text: word.text for text, word in self.by_text.items()}
        self.nouns = [_noun(text) for text in lines("nouns.txt") if text.lower() not in self.meant]
        self.things = [_thing(text) for text in lines("things.txt") if text not in self.meant]
        self.other_nouns = [Word(text, text, (), "foreign") for text in lines("other_nouns.txt")]

    def _known(self) -> list[Word]:
        return [*self.canonical.values(), *chain(*self.same.values())]

    def every(self) -> list[Word]:
        """All words that are not invented."""
        other = [*chain(*self.foreign.values()), *self.unions, *self.nouns, *self.other_nouns]
        return [*self._known(), *other, *(_word(text, (), table("names.yaml")) for text in self.sexed)]

    def _meant(self) -> frozenset[str]:
        """Everything that means a category, lower case: no other noun may be it."""
        words = [*self._known(), *self.unions, *chain(*self.foreign.values())]
        return frozenset({text.lower() for word in words for text in (word.text, word.plural)} | set(self.sexed))

    def named(self, name: str, rng: random.Random, canonical: float) -> Word:
        """A word for one category: its own name with probability `canonical`, else a synonym if it has one."""
        same = self.same[name]
        return self.canonical[name] if not same or rng.random() < canonical else pick(same, rng)

    def invented(self, rng: random.Random) -> Word:
        """A word that does not exist."""
        while True:
            text = pseudo_word(rng)
            if text.lower() not in self.taken:
                break
        roll = rng.random()
        if roll < 0.08:
            text = f"{text} {pick(self.nouns, rng).text}"
        elif roll < 0.14:
            text = f"{text} {pseudo_word(rng)}"
        elif roll < 0.18:
            text = f"{text}-{int(rng.random() * 99)}"
        return Word(text, pluralise(text))

    def unknown(self, rng: random.Random) -> Word:
        """A real noun that is none of the categories, at times with an adjective, at times in another language."""
        roll = rng.random()
        if roll < 0.06:
            return pick(self.other_nouns, rng)
        word = pick(self.nouns, rng)
        if roll < 0.16 and word.number == "count":
            return self.with_quality(word, rng)
        return word

    def anything(self, rng: random.Random) -> Word:
        """Anything that people may ask for: a thing that may be there unlabelled, half things, words of any kind."""
        roll = rng.random()
        if roll < 0.62:
            return pick(self.things, rng)
        last = pick(self.things, rng).text.rpartition(" ")[2]
        if roll < 0.74:
            text = f"{pick(other_words(), rng)} {last}"
        elif roll < 0.88:
            text = f"{pick(self.things, rng).text} {last}"
        else:
            text = pick(other_words(), rng)
        return self.anything(rng) if text in self.meant | self.held_out else _thing(text)

    @staticmethod
    def with_quality(word: Word, rng: random.Random) -> Word:
        """The word with an adjective in front; true only of what is not there."""
        quality = pick(table("slots.yaml")["qualities"], rng)
        return replace(word, text=f"{quality} {word.text}", plural=f"{quality} {word.plural}")


def pseudo_word(rng: random.Random) -> str:
    """One to three syllables that nobody uses, now and then with a capital letter."""
    sounds = table("slots.yaml")
    text = ""
    for _ in range(1 + int(rng.random() * 2.2)):
        text += pick(sounds["onsets"], rng) + pick(sounds["vowels"], rng)
        text += pick(sounds["codas"], rng) if rng.random() < 0.6 else ""
    if rng.random() < 0.3:
        text = text.rstrip("aeiou") + pick(sounds["endings"], rng)
    if len(text) < 4:
        text += pick(sounds["short_endings"], rng)
    return text.capitalize() if rng.random() < 0.08 else text


def _word(text: str, names: tuple[str, ...], data: dict[str, dict[str, str]]) -> Word:
    number = data["number"].get(text, "count")
    if number == "plural_pair":
        return Word(text, text.replace("pair", "pairs", 1), names)
    if number == "plural":
        return Word(text, text, names, "plural")
    return Word(text, text if number == "mass" else pluralise(text), names, "mass" if number == "mass" else "count")


def _pronoun(text: str, name: str, data: dict[str, dict[str, str]]) -> Word:
    return Word(text, text, (name,), "plural" if text == "people" else "pronoun")


def _union(text: str, row: dict[str, object], data: dict[str, dict[str, str]]) -> Word:
    of = row["of"]
    assert isinstance(of, list)
    mass = row.get("number") == "mass"
    plural = str(row.get("plural") or (text if mass else pluralise(text)))
    return Word(text, plural, tuple(of), "mass" if mass else "count", bool(row.get("open")))


def _thing(text: str) -> Word:
    several = text.endswith("s") and not text.endswith(("ss", "us"))
    return Word(text, text if several else pluralise(text), (), "plural" if several else "count", open=True)


def _noun(text: str) -> Word:
    proper = text[0].isupper() and any(c.islower() for c in text[1:]) and "-" not in text and text.split()[0].isalpha()
    return Word(text, text, (), "proper") if proper else Word(text, pluralise(text))
