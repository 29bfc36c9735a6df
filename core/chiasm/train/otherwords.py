"""Plain questions about other things: a question's words drawn anew, so that it is known by how it asks.

A small model that has seen every question with the same few nouns and verbs takes a word it does not know for a thing
to look for. Here the frame of a sentence stays («Which ... goes with ...?») and its other words become any words.
"""

from __future__ import annotations

import random
import re
from functools import cache

from .language import lines, pick, table, texts_in

SHARE = 0.5  # of the words that can be replaced
WORD = re.compile(r"\{?[A-Za-z][A-Za-z']*\}?")
SHORTEST = 3  # letters; shorter words hold a sentence together
ASKS = re.compile(
    r"\b(where\w*|see\w*|find\w*|found|spot\w*|show\w*|box\w*|mark\w*|locat\w*|point\w*|detect\w*|look\w*|draw\w*"
    r"|outline\w*|search\w*|position\w*|corner\w*|side|sides|edge\w*|pixel\w*|picture\w*|image\w*|photo\w*|scene"
    r"|visible|which way|there|got|any|give|get|need|about|another|count|how many)\b",
    re.IGNORECASE,
)  # a sentence with one of these could become a request under other words


def in_other_words(question: str, rng: random.Random) -> str:
    """`question` with other words, slots like `{thing}` as they are; one that could then be a request stays itself.

    The first word stays: it asks, or is what one is told to do.
    """
    if ASKS.search(question):
        return question
    first, space, rest = question.partition(" ")
    return first + space + WORD.sub(lambda found: _other(found[0], rng), rest)


def _other(word: str, rng: random.Random) -> str:
    if len(word) < SHORTEST or word[0] == "{" or word.lower() in frame() or rng.random() >= SHARE:
        return word
    other = pick(other_words(), rng)
    return other.capitalize() if word[0].isupper() else other


@cache
def frame() -> frozenset[str]:
    """Words that hold a sentence together."""
    return frozenset(" ".join(lines("frame_words.txt")).split())


@cache
def other_words() -> tuple[str, ...]:
    """Words of the list and of all plain questions, none of which asks for anything or is a thing that we know."""
    asked = " ".join([*lines("world_questions.txt"), *lines("picture_questions.txt")]).lower()
    known = {part for text in texts_in(table("names.yaml")) for part in text.lower().split()}
    known |= {word.lower() for word in lines("heldout.txt")}
    words = {*" ".join(lines("words.txt")).split(), *re.findall(r"(?<!\{)\b[a-z]{3,}\b(?!')", asked)}
    return tuple(sorted(word for word in words - known - frame() if not ASKS.fullmatch(word)))
