"""From words to a request as a person would type it: articles, joiners, phrasing, noise, letter case."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from .language import draw, phrasings, pick, table
from .words import Word, article

Style = Literal["free", "bare", "the", "a"]
Piece = tuple[str, int]  # text, and the index of the name it is or -1
ONE = {"a": 34, "the": 34, "": 8, "any": 7, "every": 6, "each": 4, "my": 4, "this": 2, "that": 2, "some": 1, "our": 1, "another": 1, "every single": 1}
MANY = {"the": 30, "": 30, "all": 10, "all the": 10, "any": 8, "some": 4, "all of the": 3, "my": 3, "any of the": 2, "each of the": 1, "these": 1, "those": 1, "our": 1, "the two": 1, "several": 1, "two": 1, "three": 1, "both": 1, "2": 1}
THE = {"the": 30, "my": 5, "this": 1, "that": 1, "our": 1, "your": 1}
THE_MANY = {"the": 30, "my": 4, "all the": 4, "all": 2, "these": 1, "those": 1, "our": 1, "": 3}
A_ONE = {"a": 30, "any": 6}
A_MANY = {"any": 20, "some": 6, "": 6}
JOINS = {"{}, {} and {}": 40, "{}, {}, and {}": 14, "{}, {}, {}": 14, "{} and {} and {}": 8, "{}, {} or {}": 6, "{}; {}; {}": 4, "{} & {} & {}": 3,
         "{} as well as {} as well as {}": 3, "{}, {} as well as {}": 2, "{} plus {} plus {}": 2, "{} + {} + {}": 1, "{}, {} & {}": 2, "{} / {} / {}": 1,
         "{}, {} and also {}": 3, "{}, {} plus {}": 1, "{}, then {}, then {}": 1, "{},{},{}": 2, "{}; {} and {}": 1, "{} or {} or {}": 1, "{} along with {} and {}": 1,
         "{} and {}, and {}": 1, "{}, also {}, {}": 1,
         "{}, {}. Also find {}": 1, "{}, {}. And mark {} too": 1, "{} and {}, but also {}": 1, "{}, {}, and while you are at it {}": 1,
         "{}, {}; also {}": 1, "{} and {}, and if possible {}": 1}  # fmt: skip
LABEL_JOINS = {"{}, {}, {}": 50, "{}, {} and {}": 20, "{},{},{}": 6, "{}; {}; {}": 8, "{} and {} and {}": 4, "{}, {}, and {}": 5, "{}, {} or {}": 4, "{} / {} / {}": 2, "{} | {} | {}": 2, "{} & {} & {}": 1, "{} + {} + {}": 1}
BULLETS = ("- {}", "* {}", "{n}. {}", "{n}) {}", "{}", "{}", "• {}", "({n}) {}", "{},", "{};", "+ {}", "– {}", "{n}: {}")
NOT_MASS = ("these", "those", "several", "the two", "two", "three", "both", "2", "each of the", "any of the")
QUOTES = ('""', '""', "''", "“”", "«»", "``", "‘’")
ASKING = frozenset(["what", "who", "whom", "whose", "which", "where", "when", "why", "how", "is", "are", "was", "were", "do", "does", "did", "can", "could", "would", "will", "should", "may", "might", "has", "have", "at", "in", "of", "isn", "aren", "am", "anything", "about", "roughly", "with"])  # fmt: skip
GROUPS = {"command": 36, "question": 18, "label": 16, "where": 10, "there": 6, "block": 6, "terse_question": 3}
STYLES: dict[str, Style] = {"command": "free", "question": "free", "where": "the", "there": "a"}


def weighted(table: dict[str, int], rng: random.Random) -> str:
    """A key of `table` by its weight."""
    roll = rng.random() * sum(table.values())
    for key, weight in table.items():
        roll -= weight
        if roll < 0:
            return key
    return next(iter(table))


def noun_phrase(word: Word, style: Style, many: bool, rng: random.Random) -> tuple[str, str]:
    """(what stands in front of the name, the name in its form)."""
    if style == "bare" or word.number in ("pronoun", "foreign"):
        return "", word.plural if many and word.number == "count" else word.text
    if word.number == "proper":
        return ("the " if rng.random() < 0.2 else ""), word.text
    if word.number == "plural" and not many and rng.random() < 0.1 and word.text in ("scissors", "skis"):
        return "a pair of ", word.text
    text = word.plural if many else word.text
    tables = {"free": (ONE, MANY), "the": (THE, THE_MANY), "a": (A_ONE, A_MANY)}[style]
    many = many or word.number in ("plural", "mass")
    determiner = weighted(tables[many], rng)
    if word.number == "mass" and determiner in NOT_MASS:
        determiner = "the"
    if determiner == "a":
        determiner = article(text)
    return (determiner + " " if determiner else ""), text


def join(phrases: Sequence[tuple[str, str]], pattern: str, quotes: str = "") -> list[Piece]:
    """The phrases one behind the other as `pattern` ("{}, {} and {}") shows it for three."""
    _, first, last, tail = pattern.split("{}")
    pieces: list[Piece] = []
    for at, (before, name) in enumerate(phrases):
        between = "" if at == 0 else last if at == len(phrases) - 1 else first
        pieces += [(between + before + quotes[:1], -1), (name, at), (quotes[1:], -1)]
    return [*pieces, (tail, -1)]


class FindPrompt:
    """Writes one request to find `words`; call it once."""

    def __init__(self, words: Sequence[Word], rng: random.Random) -> None:
        self.words = words
        self.rng = rng

    def write(self) -> tuple[str, tuple[str, ...]]:
        """(the prompt, each name to the letter as it stands in it)."""
        rng = self.rng
        group = weighted(GROUPS, rng)
        if group == "block" and len(self.words) == 1:
            group = "command"
        if group == "terse_question" and len(self.words) > 3:
            group = "label"
        pieces, template, asks = self._block() if group == "block" else self._line(group)
        return finish(pieces, template, asks, rng)

    def _line(self, group: str) -> tuple[list[Piece], str, bool]:
        rng = self.rng
        style = STYLES.get(group, "bare")
        many = [rng.random() < 0.4 for _ in self.words]
        if group in ("where", "there") or rng.random() < 0.4:
            many = [many[0]] * len(many)
        if style == "bare" and rng.random() < 0.5:
            many = [False] * len(many)
        phrases = [noun_phrase(word, style, flag, rng) for word, flag in zip(self.words, many, strict=True)]
        quotes = pick(QUOTES, rng) if rng.random() < 0.04 else ""
        phrases = [("", name) for _, name in phrases] if quotes else self._decorated(phrases)
        plural = many[0] or len(phrases) > 1 or self.words[0].number in ("plural", "mass")
        if group in ("where", "there") and plural and not (group == "there" and not many[0]):
            group += "_many"
        template = draw(pick(phrasings("find.yaml", group), rng), rng)
        template = template.replace("{is}", "are" if plural else "is").replace("{it}", "them" if plural else "it")
        pieces = join(phrases, weighted(LABEL_JOINS if style == "bare" else JOINS, rng), quotes)
        if len(phrases) == 2 and style != "bare" and rng.random() < 0.04:
            pieces = [("both ", -1), *pieces]
        return pieces, template, group.startswith(("question", "where", "there", "terse"))

    def _decorated(self, phrases: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """At times one article for all: "the dog and cat"."""
        if len(phrases) > 1 and self.rng.random() < 0.12:
            return [phrases[0], *(("", name) for _, name in phrases[1:])]
        return phrases

    def _block(self) -> tuple[list[Piece], str, bool]:
        rng = self.rng
        style: Style = "bare" if rng.random() < 0.8 else "free"
        many = rng.random() < 0.3
        bullet = pick(BULLETS, rng)
        pieces: list[Piece] = []
        for at, word in enumerate(self.words):
            before, name = noun_phrase(word, style, many, rng)
            head, _, tail = bullet.replace("{n}", str(at + 1)).partition("{}")
            if at == len(self.words) - 1:
                tail = ""
            pieces += [(("\n" if at else "") + head + before, -1), (name, at), (tail, -1)]
        return pieces, draw(pick(phrasings("find.yaml", "block"), rng), rng), False


def finish(
    pieces: list[Piece], template: str, asks: bool, rng: random.Random
) -> tuple[str, tuple[str, ...]]:
    """The template filled with `pieces`, with case, punctuation and noise: (text, the names in order)."""
    data = table("find.yaml")
    if "{verb}" in template:
        template = template.replace("{verb}", pick(data["verbs"], rng))
    if "{sep}" in template:
        template = template.replace("{sep}", pick((":", ":", ":", " -", "", " ="), rng))
    here = " " + pick(data["here"], rng) if rng.random() < 0.3 else ""
    template = template.replace("{here}", here) if "{here}" in template else template
    head, slot, tail = template.partition("{names}")
    block = "\n" in template or any("\n" in text for text, _ in pieces)
    if slot and not tail and not block and rng.random() < 0.12:
        tail = " " + pick(data["here"], rng)
    tail += _end(asks and "? " not in tail, block, rng)
    text = [(head, -1), *pieces, (tail, -1)]
    return _cased([(part, at) for part, at in _noisy(text, bool(slot), rng) if part], rng)


def _noisy(pieces: list[Piece], finds: bool, rng: random.Random) -> list[Piece]:
    """At times a greeting or a remark before, thanks or a wish behind."""
    data = table("find.yaml")
    if rng.random() < 0.13:
        pieces = [(pick(data["before"], rng) + pick((", ", "! ", ". ", ": ", " ", "\n", " - "), rng), -1), *pieces]
    if rng.random() < 0.1:
        closed = pieces[-1][0][-1:] in tuple(".?!")
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
    roll, names_roll = rng.random(), rng.random()
    if roll < 0.03:
        pieces = [(text.upper(), at) for text, at in pieces]
    elif roll < 0.3:
        pieces = [(text.lower() if at < 0 or names_roll < 0.5 else text, at) for text, at in pieces]
    else:
        if names_roll < 0.06:
            pieces = [(text if at < 0 else text[:1].upper() + text[1:], at) for text, at in pieces]
        elif names_roll < 0.09:
            pieces = [(text if at < 0 else text.title(), at) for text, at in pieces]
        elif names_roll < 0.11:
            pieces = [(text if at < 0 else text.upper(), at) for text, at in pieces]
        if roll < 0.85:
            first, at = pieces[0]
            pieces = [(first[:1].upper() + first[1:], at), *pieces[1:]]
    return "".join(text for text, _ in pieces), tuple(text for text, at in pieces if at >= 0)


def sentence(template: str, rng: random.Random) -> str:
    """A request without names to route: its case and punctuation as people write."""
    return finish([], template, is_question(template), rng)[0]


def is_question(template: str) -> bool:
    """Whether a sentence that starts like this wants a question mark."""
    return template.partition(" ")[0].lower().partition("'")[0] in ASKING
