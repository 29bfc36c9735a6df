"""From words to a request as a person would type it: articles, joiners, phrasing, noise, letter case."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Literal

from .language import Phrasing, draw, phrasings, pick, table
from .words import Word, article

Style = Literal["free", "bare", "the", "a"]
Piece = tuple[str, int]  # text, and the index of the name it is or -1
STYLES: Mapping[str, Style] = {
    "command": "free",
    "question": "free",
    "where": "the",
    "there": "a",
    "there_several": "a",
}
DETERMINERS = {"free": ("one", "many"), "the": ("the_one", "the_many"), "a": ("a_one", "a_many")}
QUOTED = 0.04  # of the requests have their names in quotes
ONE_ARTICLE = 0.12  # have one article for all names: "the dog and cat"
REMARK_BEFORE, REMARK_BEHIND = 0.13, 0.1
SLIPS = 0.04  # have one wrong key somewhere outside the names


def weighted(table: Mapping[str, int], rng: random.Random) -> str:
    """A key of `table` by its weight."""
    roll = rng.random() * sum(table.values())
    for key, weight in table.items():
        roll -= weight
        if roll < 0:
            return key
    return next(iter(table))


def noun_phrase(word: Word, style: Style, many: bool, rng: random.Random) -> tuple[str, str]:
    """(what stands in front of the name, the name in its form)."""
    text = word.plural if many else word.text
    if style == "bare" or word.number in ("pronoun", "foreign"):
        return "", text
    if word.number == "proper":
        return ("the " if rng.random() < 0.2 else ""), text
    if word.text in ("scissors", "skis") and rng.random() < 0.1:
        return "a pair of ", text
    return determiner(word, text, style, many or word.number in ("plural", "mass"), rng), text


def determiner(word: Word, text: str, style: Style, many: bool, rng: random.Random) -> str:
    """An article or quantifier that fits, with its blank, or nothing."""
    data = table("wording.yaml")
    drawn = weighted(data[DETERMINERS[style][many]], rng)
    if word.number == "mass" and drawn in data["not_mass"]:
        drawn = "the"
    drawn = article(text) if drawn == "a" else drawn
    return drawn + " " if drawn else ""


def join(phrases: Sequence[tuple[str, str]], pattern: str, quotes: str = "") -> list[Piece]:
    """The phrases one behind the other as `pattern` ("{}, {} and {}") shows it for three."""
    _, first, last, tail = pattern.split("{}")
    pieces: list[Piece] = []
    for at, (before, name) in enumerate(phrases):
        between = "" if at == 0 else last if at == len(phrases) - 1 else first
        pieces += [(between + before + quotes[:1], -1), (name, at), (quotes[1:], -1)]
    return [*pieces, (tail if len(phrases) > 1 else "", -1)]


class FindPrompt:
    """Writes one request to find `words`; one that is not about a picture (`seen` False) mentions none."""

    def __init__(self, words: Sequence[Word], rng: random.Random, *, seen: bool = True) -> None:
        self.words, self.seen = words, seen
        self.rng = rng
        self.data = table("wording.yaml")

    def write(self, template: Phrasing | None = None) -> tuple[str, tuple[str, ...]]:
        """(the prompt, each name to the letter as it stands in it); of `template` if one is given."""
        if template is not None:
            return self._line("question" if is_question(template[0][0]) else "command", template)
        group = weighted(self.data["groups"], self.rng)
        if not self._fits(group):
            group = "command" if len(self.words) == 1 else "label"
        if group == "block":
            return finish(self._block(), self._template("block"), False, self.rng)
        return self._line(group)

    def _fits(self, group: str) -> bool:
        """Some groups are for one thing (or a kind of things), some for several, short ones for a few."""
        if group in ("block", "there_several"):  # "is there a dog?" wants yes or no, of several the user wants each
            return len(self.words) > 1
        if group == "which":
            return len(self.words) == 1 and self.words[0].number == "count"
        return group != "terse_question" or len(self.words) <= 3

    def _template(self, group: str) -> str:
        return draw(pick(phrasings("find.yaml", group), self.rng), self.rng)

    def _line(self, group: str, given: Phrasing | None = None) -> tuple[str, tuple[str, ...]]:
        rng, style = self.rng, STYLES.get(group, "bare")
        many = self._numbers(group, style)
        phrases = [noun_phrase(word, style, flag, rng) for word, flag in zip(self.words, many, strict=True)]
        quotes = pick(self.data["quotes"], rng) if rng.random() < QUOTED else ""
        if quotes:
            phrases = [("", name) for _, name in phrases]
        elif len(phrases) > 1 and rng.random() < ONE_ARTICLE:
            phrases = [phrases[0], *(("", name) for _, name in phrases[1:])]
        number = self.words[0].number
        several = len(phrases) > 1 or number == "plural" or (many[0] and number in ("count", "pair"))
        if group == "where":
            group = "where_many" if several else group
        elif group == "there":
            group = "there_many" if number == "plural" or (many[0] and number == "count") else group
        template = self._template(group) if given is None else draw(given, rng)
        template = template.replace("{is}", "are" if several else "is").replace("{it}", "them" if several else "it")
        pieces = join(phrases, weighted(self.data["label_joins" if style == "bare" else "joins"], rng), quotes)
        if len(phrases) == 2 and style != "bare" and rng.random() < 0.04:
            pieces = [("both ", -1), *pieces]
        asks = group.startswith(("question", "wh", "there", "terse"))
        return finish(pieces, template, asks, rng, seen=self.seen)

    def _numbers(self, group: str, style: Style) -> list[bool]:
        """For each word whether its plural is asked for."""
        many = [self.rng.random() < 0.4 for _ in self.words]
        if group == "which":
            return [True]
        if style == "bare" and self.rng.random() < 0.5:
            return [False] * len(many)
        if group in ("where", "there") or self.rng.random() < 0.4:
            return [many[0]] * len(many)
        return many

    def _block(self) -> list[Piece]:
        rng = self.rng
        style: Style = "bare" if rng.random() < 0.8 else "free"
        many = rng.random() < 0.3
        bullet = pick(self.data["bullets"], rng)
        pieces: list[Piece] = []
        for at, word in enumerate(self.words):
            before, name = noun_phrase(word, style, many, rng)
            head, _, tail = bullet.replace("{n}", str(at + 1)).partition("{}")
            last = at == len(self.words) - 1
            pieces += [(("\n" if at else "") + head + before, -1), (name, at), ("" if last else tail, -1)]
        return pieces


def finish(
    pieces: list[Piece], template: str, asks: bool, rng: random.Random, *, seen: bool = True
) -> tuple[str, tuple[str, ...]]:
    """The template filled with `pieces`, with case, punctuation and noise: (text, the names in order)."""
    data = table("find.yaml")
    if "{verb}" in template:
        template = template.replace("{verb}", pick(data["verbs"], rng))
    if "{sep}" in template:
        template = template.replace("{sep}", pick((":", ":", ":", " -", "", " ="), rng))
    if "{here}" in template:
        template = template.replace("{here}", " " + pick(data["here"], rng) if rng.random() < 0.3 else "")
    head, slot, tail = template.partition("{names}")
    block = "\n" in template or any("\n" in text for text, _ in pieces)
    if slot and seen and not tail and not block and rng.random() < 0.12:
        tail = " " + pick(data["here"], rng)
    tail += _end(asks and "? " not in tail, block, rng)
    pieces = _noisy([(head, -1), *pieces, (tail, -1)], bool(slot) and seen, rng)
    return _cased([(text, at) for text, at in pieces if text], rng)


def _noisy(pieces: list[Piece], finds: bool, rng: random.Random) -> list[Piece]:
    """At times a greeting or a remark before, thanks or a wish behind."""
    data = table("find.yaml")
    if rng.random() < REMARK_BEFORE:
        between = pick((", ", "! ", ". ", ": ", " ", "\n", " - "), rng)
        pieces = [(pick(data["before"], rng) + between, -1), *pieces]
    if rng.random() < REMARK_BEHIND:
        closed = pieces[-1][0][-1:] in (".", "?", "!")
        between = pick((" ", "\n") if closed else (", ", " ", ". ", ".\n", " - "), rng)
        pieces = [*pieces, (between + pick(data["after_find" if finds and rng.random() < 0.4 else "after"], rng), -1)]
    return pieces


def _end(asks: bool, block: bool, rng: random.Random) -> str:
    roll = rng.random()
    if block:
        return "" if roll < 0.8 else "\n"
    if asks:
        return "?" if roll < 0.75 else "" if roll < 0.97 else "??"
    return "" if roll < 0.45 else "." if roll < 0.85 else "!" if roll < 0.93 else "..." if roll < 0.95 else "?"


def _cased(pieces: list[Piece], rng: random.Random) -> tuple[str, tuple[str, ...]]:
    """One letter case for the sentence, at times another for the names: (text, the names in order)."""
    roll, names_roll = rng.random(), rng.random()
    if rng.random() < SLIPS:
        at = int(rng.random() * len(pieces))
        pieces[at] = (_slip(pieces[at][0], rng) if pieces[at][1] < 0 else pieces[at][0], pieces[at][1])
    if roll < 0.03:
        pieces = [(text.upper(), at) for text, at in pieces]
    elif roll < 0.3:
        pieces = [(text.lower() if at < 0 or names_roll < 0.5 else text, at) for text, at in pieces]
    else:
        pieces = [(text if at < 0 else _name_cased(text, names_roll), at) for text, at in pieces]
        if roll < 0.85:
            first, at = pieces[0]
            pieces = [(first[:1].upper() + first[1:], at), *pieces[1:]]
    return "".join(text for text, _ in pieces), tuple(text for text, at in pieces if at >= 0)


def _slip(text: str, rng: random.Random) -> str:
    """One letter lost, doubled or swapped with the next."""
    at = int(rng.random() * len(text))
    if not text[at : at + 2].isalpha():
        return text
    return text[:at] + pick(("", text[at] * 2, text[at + 1 : at + 2] + text[at]), rng) + text[at + 1 :]


def _name_cased(text: str, roll: float) -> str:
    if roll < 0.06:
        return text[:1].upper() + text[1:]
    return text.title() if roll < 0.09 else text.upper() if roll < 0.11 else text


def sentence(template: str, rng: random.Random) -> str:
    """A request without names to route: its case and punctuation as people write."""
    return finish([], template, is_question(template), rng)[0]


def is_question(template: str) -> bool:
    """Whether a sentence that starts like this wants a question mark."""
    return template.partition(" ")[0].lower().partition("'")[0] in table("wording.yaml")["asking"]
