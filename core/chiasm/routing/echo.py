"""Saying back: phrases of an answer that are held to the words of the question, to the letter.

A small language model copies a word that it has rarely seen badly ("leftampamp" for "street lamp"). Where an answer
begins in a way that names what the question names, the next token of a phrase is chosen among those that go on with the
question's own words: decoding along a trie of what may be said (De Cao et al. 2021, Autoregressive Entity Retrieval).
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

MOST_WORDS = 12  # of a phrase
MOST_CHARS = 100  # of a phrase
MOST_SPANS = 4000  # that are looked at: the newest text first, each from its end
# Scripts that write no space between words: there each character may begin or end one.
UNSPACED = ((0xE00, 0xEFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x2E80, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))

Ids = tuple[int, ...]
Span = tuple[int, int, int]  # which text, and its characters


@dataclass
class Echo:
    """What the phrases of one answer may be, each place of `texts` once.

    `texts` are the question and, behind it, what was said before, the newest first; `spell` gives a phrase's ids as the
    model has learned them.
    """

    texts: Sequence[str] = ()
    spell: Callable[[str], Sequence[int]] = lambda words: tuple(map(ord, words))
    said: list[Span] = field(default_factory=list)
    _spans: dict[Ids, list[Span]] | None = None

    def after(self, phrase: Sequence[int]) -> dict[int | None, bool]:
        """What may follow in a phrase, None for its end, and whether it is new: not part of what was said back."""
        length, begun = len(phrase), tuple(phrase)
        found: dict[int | None, bool] = {}
        for ids, spans in self.spans.items():
            if ids[:length] == begun:
                token = ids[length] if len(ids) > length else None
                found[token] = found.get(token, False) or any(self._is_new(span) for span in spans)
        return found

    def take(self, phrase: Sequence[int]) -> None:
        """Remember that a phrase was said back: the first place of it that was not yet."""
        places = (self._spans or {}).get(tuple(phrase), [])
        self.said += [span for span in places if self._is_new(span)][:1]

    @property
    def spans(self) -> dict[Ids, list[Span]]:
        """Every row of words, spelled, with the places where it stands, in their order."""
        if self._spans is None:
            self._spans = defaultdict(list)
            rows = ((text, *row) for text, words in enumerate(self.texts) for row in _rows_of_words(words))
            for text, begin, end in sorted(islice(rows, MOST_SPANS)):
                self._spans[tuple(self.spell(self.texts[text][begin:end]))].append((text, begin, end))
        return self._spans

    def _is_new(self, span: Span) -> bool:
        text, first, last = span
        return all(text != other or last <= begin or end <= first for other, begin, end in self.said)


def _rows_of_words(text: str) -> Iterator[tuple[int, int]]:
    """Where rows of words begin and end, those nearest to the text's end first."""
    words = list(_words(text))
    for at in reversed(range(len(words))):
        first = words[at][0]
        yield from ((first, last) for _, last in words[at : at + MOST_WORDS] if last - first <= MOST_CHARS)


def _words(text: str) -> Iterator[tuple[int, int]]:
    """Runs of letters, digits and their marks; characters of unspaced scripts and symbols each by themselves."""
    begin, kinds = 0, [_kind(char) for char in text]
    for at, kind in enumerate(kinds):
        goes_on = at > begin and (kind == "mark" or kind == kinds[begin] == "word")
        if not goes_on:
            if at > begin and kinds[begin] != "gap":
                yield begin, at
            begin = at
    if kinds and kinds[begin] != "gap":
        yield begin, len(text)


def _kind(char: str) -> str:
    category = unicodedata.category(char)
    if category[0] == "M":
        return "mark"
    if char == "_" or category[0] in "LN":
        return "alone" if any(low <= ord(char) <= high for low, high in UNSPACED) else "word"
    return "alone" if category[0] == "S" else "gap"
