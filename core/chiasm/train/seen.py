"""Questions about a picture that its captions answer: colour, place, weather, doings. It never guesses beyond them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from .language import draw, phrasings, pick, table

if TYPE_CHECKING:
    from .asking import Facts
    from .words import Words

WHO = (
    "man|woman|boy|girl|child|person|people|men|women|dog|cat|bird|horse|cow|elephant|giraffe|bear|skier|surfer|player"
    "|group of people"
)
DOING = re.compile(
    rf"^(?:a|an|the|two|some|several)?\s*(?:young |little |old |small |large |big )?({WHO})s? "
    r"(?:(?:that |who )?(?:is|are) )?([a-z]+ing\b[^.;]*)"
)
Seen = tuple[str, str] | None


def seen_question(facts: Facts, words: Words, rng: random.Random) -> Seen:
    """(question, answer) from the captions, None if they do not tell what was to be asked."""
    kinds = (_colour, _colour, _place, _inside, _weather, _time, _doing, _doing)
    ask: Callable[[Facts, Words, random.Random], Seen] = pick(kinds, rng)
    return ask(facts, words, rng)


def _question(group: str, rng: random.Random, **slots: str) -> str:
    text = draw(pick(phrasings("seen.yaml", group), rng), rng)
    for slot, value in slots.items():
        text = text.replace("{" + slot + "}", value)
    return text


def _colour(facts: Facts, words: Words, rng: random.Random) -> Seen:
    known = [(colours, thing) for colours, thing in facts.coloured if thing in words.singular]
    if known:
        colours, thing = pick(known, rng)
        many = words.singular[thing] != thing
        answer = f"The {thing} {'are' if many else 'is'} {colours}."
        return _question("colours" if many else "colour", rng, thing=thing), answer
    thing = pick(facts.present, rng) if facts.present else pick(words.names, rng)
    return _question("colour", rng, thing=thing), "I cannot tell what colour it is."


def _where(facts: Facts) -> tuple[str, bool] | None:
    data = table("seen.yaml")
    votes = [
        (sum(word in caption.lower() for caption in facts.captions), name, group == "indoors")
        for group in ("indoors", "outdoors")
        for word, name in data[group].items()
        if word in facts.said
    ]
    count, name, inside = max(votes, default=(0, "", False))
    return (name, inside) if count >= 2 else None


def _place(facts: Facts, words: Words, rng: random.Random) -> Seen:
    where = _where(facts)
    return _question("place", rng), f"It looks like {where[0]}." if where else "I cannot tell where that is."


def _inside(facts: Facts, words: Words, rng: random.Random) -> Seen:
    where = _where(facts)
    if where is None:
        return None
    return _question("inside", rng), "It is indoors." if where[1] else "It is outdoors."


def _weather(facts: Facts, words: Words, rng: random.Random) -> Seen:
    said = [answer for word, answer in table("seen.yaml")["skies"].items() if word in facts.said]
    where = _where(facts)
    if not said and where and where[1]:
        return _question("weather", rng), "I cannot tell, it is indoors."
    return _question("weather", rng), said[0] if said else "I cannot tell what the weather is like."


def _time(facts: Facts, words: Words, rng: random.Random) -> Seen:
    if facts.said & {"night", "nighttime", "evening", "dark"}:
        return _question("time", rng), "It is night."
    where = _where(facts)
    return _question("time", rng), "I cannot tell the time of day." if where is None or where[1] else "It is day."


def _doing(facts: Facts, words: Words, rng: random.Random) -> Seen:
    found = [match for caption in facts.captions if (match := DOING.match(caption.lower().strip()))]
    if not found:
        return None
    match = pick(found, rng)
    who, what = match.group(1), match.group(2).strip().rstrip(" .,!")
    many = who in ("people", "men", "women", "group of people") or match.group(0).startswith(("two", "some", "several"))
    who = "people" if who in ("group of people", "person") and many else who
    subject = pick(("they", f"the {who}"), rng) if who in ("people", "men", "women") else f"the {who}"
    if many and who not in ("people", "men", "women"):
        return None
    verb = "are" if many else "is"
    answer = f"{subject[:1].upper()}{subject[1:]} {verb} {what}."
    return _question("doings" if many else "doing", rng, who=subject), answer
