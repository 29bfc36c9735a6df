"""Plain questions in other words: what asks stays, what could become a request is left alone."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from chiasm.train.language import draw, lines, phrased_lines, phrasings
from chiasm.train.otherwords import frame, in_other_words


def drawn(question: str, count: int = 200) -> set[str]:
    rng = random.Random(0)
    return {in_other_words(question, rng) for _ in range(count)}


def test_the_frame_stays_and_its_words_change() -> None:
    found = drawn("Which wine goes with the {thing}?")
    assert len(found) > 100
    assert all(re.fullmatch(r"Which [a-z]+ [a-z]+ with the \{thing\}\?", text) for text in found)


@pytest.mark.parametrize(
    "question",
    ["Where is the museum?", "What is in the picture?", "Find out who wrote it.", "Is there life?", "Got time?"],
)
def test_what_could_become_a_request_stays_itself(question: str) -> None:
    assert drawn(question) == {question}


def test_what_one_is_told_to_do_stays() -> None:
    assert all(text.startswith("Persuade my ") for text in drawn("Persuade my father to quit smoking."))


def test_no_word_put_in_asks_or_is_held_out_or_names_a_thing() -> None:
    """None makes a request of a question, whichever it is put into."""
    put_in = {word for text in drawn("Does wisdom grow?", 60_000) for word in text.rstrip("?").split()[1:]}
    assert len(put_in) > 3000
    assert not put_in & {"dog", "bus", "where", "find", "show", "box", "draw", "outline", "picture"}
    assert not put_in & {word.lower() for word in lines("heldout.txt")}
    assert not put_in & frame()


def test_no_question_of_a_benchmark_is_trained() -> None:
    """What measures is in no list that a request is drawn from."""
    asked = measured("questions.txt")
    rng = random.Random(0)
    for name in ("world_questions.txt", "picture_questions.txt"):
        for template in phrased_lines(name):
            for _ in range(20):
                assert _plain("".join(rng.choice(part) for part in template)) not in asked


def test_no_way_to_ask_of_a_benchmark_is_trained() -> None:
    asked = measured("finding.txt")
    rng = random.Random(0)
    templates = [one for group in ("command", "question", "label") for one in phrasings("find.yaml", group)]
    assert len(templates) > 1000
    for template in templates:
        for _ in range(20):
            assert _plain(draw(template, rng)) not in asked


def measured(name: str) -> set[str]:
    """The lines of a benchmark's list."""
    text = (Path(__file__).parents[3] / "benchmarks" / name).read_text(encoding="utf-8")
    return {_plain(line) for line in text.splitlines() if not line.startswith("#")}


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
