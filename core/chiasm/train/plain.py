"""Requests whose answer routes nothing (captions, counts, yes or no), and the request for everything."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

from .language import draw, phrased_lines, phrasings, pick, table
from .otherwords import in_other_words
from .seen import seen_question
from .wording import finish, is_question, sentence, weighted
from .words import Word, article

if TYPE_CHECKING:
    from .asking import Asker, Facts

ONES = {"people": "person", "scissors": "pair of scissors", "skis": "pair of skis"}
COUNTED_MAX = 12  # more than this nobody has counted well
A_MANY = {"any": 60, "": 30, "some": 10}


def everything_of(facts: Facts, most: int, rng: random.Random) -> tuple[str, tuple[str, ...]]:
    """(prompt, the names that are there): the largest things first, then the more frequent."""
    prompt = sentence(_asked("everything.yaml", pick(("ask", "more"), rng), rng), rng)
    largest = {name: max(_area(facts.objects[at].box_xyxy) for at in found) for name, found in facts.by_name.items()}
    order = sorted(largest, key=lambda name: (-largest[name], -len(facts.by_name[name]), name))
    return prompt, tuple(order[:most])


def caption_of(facts: Facts, rng: random.Random) -> tuple[str, tuple[str, ...]]:
    """(prompt, one of the record's captions)."""
    return sentence(_asked("caption.yaml", "ask", rng), rng), (clean(pick(facts.captions, rng)),)


def clean(caption: str) -> str:
    """A caption as one sentence: single spaces, a capital letter, one dot at the end."""
    text = re.sub(r"\s+", " ", caption).strip().strip('"').rstrip(" .,;:!")
    text = re.split(r"(?<=[a-z]{3})\. +(?=[A-Z])", text)[0].rstrip(" .")
    return text[:1].upper() + text[1:] + "."


def count_of(facts: Facts, asker: Asker, rng: random.Random) -> tuple[str, tuple[str, ...]]:
    """(prompt, how many there are); never of a crowd or of more than people count."""
    prompt, _, _, told = counted(facts, asker, rng)
    return prompt, ("".join(told),)


def counted(
    facts: Facts, asker: Asker, rng: random.Random, *, present: bool = False
) -> tuple[str, Word, tuple[int, ...], tuple[str, str, str]]:
    """(prompt, the word asked for, the objects it means, the answer: what stands before the name, the name, behind).

    `present`: rather something that is there.
    """
    word = _countable(facts, asker, rng, present)
    matches = facts.matches(word)
    many = word.plural
    prompt, (asked,) = _slot("count.yaml", "ask", ("", many), rng)
    if len(matches) == 1:
        return prompt, word, matches, ("There is one ", _like(asked, ONES.get(word.text, word.text), many), ".")
    return prompt, word, matches, (f"There are {len(matches) or 'no'} ", asked, ".")


def yes_no_of(facts: Facts, asker: Asker, rng: random.Random) -> tuple[str, tuple[str, ...]]:
    """(prompt, yes or no with a short sentence)."""
    word = asker.any_word(facts, rng)
    while word.number in ("pronoun", "foreign", "proper"):
        word = asker.any_word(facts, rng)
    many = word.number == "plural" or (word.number == "count" and rng.random() < 0.45)
    text = word.plural if many else word.text
    there = "any" if word.number == "mass" else weighted(A_MANY, rng) if many else "a" if rng.random() < 0.85 else "any"
    before = article(text) if there == "a" else there
    group = "many" if many else "one"
    prompt, (asked,) = _slot("yes_no.yaml", group, (before + " " if before else "", text), rng)
    verb = "are" if many else "is"
    if facts.matches(word):
        some = f"{article(asked)} " if word.number == "count" and not many else ""
        return prompt, (f"Yes, there {verb} {some}{asked}.",)
    return prompt, (f"No, there {verb} no {asked}.",)


def question_of(facts: Facts, asker: Asker, rng: random.Random) -> tuple[str, tuple[str, ...]]:
    """(prompt, a short honest answer): about the picture as its captions tell it, or about anything else."""
    if rng.random() < SEEN and facts.captions and (seen := seen_question(facts, asker.words, rng)):
        prompt, answer = seen
        return sentence(prompt, rng), (answer,)
    groups = table("questions.yaml")
    group = rng.choices(range(len(groups)), QUESTION_WEIGHTS)[0]
    concrete = groups[group].get("lines")
    choices = phrasings("questions.yaml", group)
    if concrete and rng.random() < CONCRETE:
        choices = phrased_lines(concrete)
    template = draw(pick(choices, rng), rng)
    if concrete and asker.mix.other_words and rng.random() < asker.mix.other_words:
        template = in_other_words(template, rng)
    return sentence(filled(template, facts, asker, rng), rng), (groups[group]["answer"],)


SEEN = 0.25  # of all: about what captions tell
QUESTION_WEIGHTS = (10, 5, 3, 1, 2, 54, 8, 44, 2)  # by the groups of questions.yaml
CONCRETE = 0.85  # of a group that has a file of sentences: drawn from there


def filled(template: str, facts: Facts, asker: Asker, rng: random.Random) -> str:
    """The template with its slots drawn: things that are there, that are not, that nobody knows."""
    while (at := template.find("{")) >= 0:
        slot, _, rest = template[at + 1 :].partition("}")
        template = template[:at] + _slot_text(slot, facts, asker, rng) + rest
    return template


def _slot_text(slot: str, facts: Facts, asker: Asker, rng: random.Random) -> str:
    if slot == "number":
        return str(int(rng.random() ** 2 * 100))
    if slot in ("place", "mark"):
        return str(pick(table("slots.yaml")[slot], rng))
    if asker.mix.unlabelled and rng.random() < asker.mix.unlabelled:
        word = asker.words.anything(rng)
    else:
        word = asker.any_word(facts, rng)
        while word.number not in ("count", "plural"):
            word = asker.any_word(facts, rng)
    return word.plural if slot == "things" else word.text


def _countable(facts: Facts, asker: Asker, rng: random.Random, present: bool) -> Word:
    tries = 6 if present else 0
    while True:
        word, tries = asker.any_word(facts, rng), tries - 1
        found = facts.matches(word)
        crowd = any(facts.objects[at].crowd for at in found)
        plain = word.number == "count" or word.text in ("people", "scissors", "skis")
        if plain and len(found) <= COUNTED_MAX and not crowd and (found or tries < 0):
            return word


def _asked(file: str, group: str, rng: random.Random) -> str:
    template = draw(pick(phrasings(file, group), rng), rng)
    here = table("everything.yaml")["here"]
    return template.replace("{here}", pick(here, rng)).replace("{in}", pick([text for text in here if text], rng))


def _slot(file: str, group: str, thing: tuple[str, str], rng: random.Random) -> tuple[str, tuple[str, ...]]:
    template = _asked(file, group, rng)
    return finish([(thing[0], -1), (thing[1], 0)], template, is_question(template) or group == "one", rng)


def _like(asked: str, one: str, many: str) -> str:
    """The singular in the letter case in which the plural was asked."""
    if asked == many.upper() and asked != many:
        return one.upper()
    return one[:1].upper() + one[1:] if asked[:1].isupper() and not many[:1].isupper() else one


def _area(box_xyxy: tuple[float, float, float, float]) -> float:
    x0, y0, x1, y1 = box_xyxy
    return (x1 - x0) * (y1 - y0)
