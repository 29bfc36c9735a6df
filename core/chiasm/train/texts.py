"""The texts that a tokenizer is made from: all that people and answers say here, in some readings."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .language import Phrasing, draw, phrased_lines, phrasing, phrasings, table, texts_in
from .wording import FindPrompt
from .words import Words

if TYPE_CHECKING:
    from chiasm_registry import TaskSpec


def language_texts(names: Sequence[str] = (), tasks: Sequence[TaskSpec] = ()) -> Iterator[str]:
    """Texts for the training of a tokenizer: every word, every phrasing in some readings, every fixed answer.

    `tasks` add how they are asked; one that is trained later then finds its words whole.
    """
    rng = random.Random(0)
    words = Words(names or tuple(table("names.yaml")["same"]))
    for word in words.every():
        yield word.text
        yield word.plural
    for file in ("find.yaml", "everything.yaml", "caption.yaml", "count.yaml", "yes_no.yaml", "seen.yaml"):
        for group, rows in table(file).items():
            if isinstance(rows, dict):
                yield from rows.values()
            else:
                yield from _readings(phrasings(file, group), rng)
    for number, group in enumerate(table("questions.yaml")):
        yield group["answer"]
        yield from _readings(phrasings("questions.yaml", number), rng)
        if "lines" in group:
            yield from _readings(phrased_lines(group["lines"]), rng)
    for spec in tasks:
        yield from _readings([phrasing(template) for template in spec.phrasings], rng)
    for _ in range(2000):
        yield FindPrompt([words.invented(rng), words.unknown(rng)], rng).write()[0]
    yield from texts_in(table("refer.yaml"))
    yield from ("I looked for", "I see nothing that I know.", "There are no", "There is one", "Yes, there is a")
    yield from (f"There are {number} of them." for number in range(2, 13))


def _readings(templates: Sequence[Phrasing], rng: random.Random) -> Iterator[str]:
    for template in templates:
        yield from (draw(template, rng) for _ in range(8))
