"""What may be said back of a question: rows of its words, spelled as they stand there, each place once."""

from __future__ import annotations

import pytest
from chiasm.routing.echo import MOST_CHARS, MOST_SPANS, MOST_WORDS, Echo


def spell(text: str) -> tuple[int, ...]:
    """A letter an id."""
    return tuple(map(ord, text))


def rows(*texts: str) -> set[str]:
    return {"".join(map(chr, ids)) for ids in Echo(texts, spell).spans}


def after(echo: Echo, begun: str) -> dict[str, bool]:
    """What may follow; "" is the phrase's end."""
    return {"" if token is None else chr(token): new for token, new in echo.after(spell(begun)).items()}


def test_rows_of_words_are_neither_cut_nor_joined_with_what_stands_round_them() -> None:
    assert rows("Find the T-shirt, please!") == {
        *("Find", "Find the", "Find the T", "Find the T-shirt", "Find the T-shirt, please"),
        *("the", "the T", "the T-shirt", "the T-shirt, please", "T", "T-shirt", "T-shirt, please"),
        *("shirt", "shirt, please", "please"),
    }


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("a cafe\u0301 here", "cafe\u0301"),  # a mark belongs to its letter
        ("\u0932\u0921\u093c\u0915\u093e", "\u0932\u0921\u093c\u0915\u093e"),  # vowel signs too
        ("\u627e\u5230\u72d7\u3002", "\u72d7"),  # without spaces a character may be a word
        ("find \U0001f436!", "\U0001f436"),
        ("my C++ book", "C++"),
        ("row_2", "row_2"),
    ],
)
def test_words_of_any_script(text: str, held: str) -> None:
    assert held in rows(text)
    assert "cafe" not in rows(text)


def test_what_follows_a_phrase_is_what_follows_in_the_question() -> None:
    echo = Echo(("the red car and the red bus",), spell)
    assert after(echo, "red ") == {"c": True, "b": True}
    assert after(echo, "red") == {"": True, " ": True}
    assert after(echo, "redd") == {}
    assert after(echo, "re") == {"d": True}


def test_a_place_is_said_back_once() -> None:
    echo = Echo(("the red car and the red bus",), spell)
    echo.after(())
    echo.take(spell("red car"))
    assert after(echo, "") == {"t": True, "r": True, "c": False, "a": True, "b": True}
    assert after(echo, "red ") == {"c": False, "b": True}
    echo.take(spell("red bus"))
    assert after(echo, "")["r"] is False
    echo.take(spell("nothing of the kind"))


def test_what_was_said_before_may_be_said_back_too() -> None:
    assert "cups" in rows("box them", "There are two cups.")


def test_a_long_question_is_read_from_its_end_and_phrases_have_a_length() -> None:
    held = rows("begin " + "word " * MOST_SPANS + "end", "before")
    assert "end" in held
    assert "begin" not in held
    assert "before" not in held
    longest = max(rows(" ".join(map(str, range(100)))), key=lambda row: len(row.split()))
    assert len(longest.split()) == MOST_WORDS
    assert max(map(len, rows("donaudampf " * 20))) <= MOST_CHARS


def test_a_question_without_a_word_says_nothing_back() -> None:
    assert Echo(("?! ",), spell).after(()) == {}
    assert Echo().after(()) == {}
