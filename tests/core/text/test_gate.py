"""The gate for words that people type: what passes is unchanged, what does not is named in one line."""

from __future__ import annotations

import pytest
from chiasm.text import check_phrases, check_text
from chiasm_registry.errors import InputError
from hypothesis import given, settings
from hypothesis import strategies as st


class Loud(str):
    def __str__(self) -> str:
        return "another text"


@pytest.mark.parametrize(
    "text",
    [
        "dog",
        " dog ",
        "a, b; \"c\" 'd' /e",
        "two\nlines\r\n\tand tabs",
        "\x1b[31mred",
        "null",
        "nan",
        "[DET]",
        "🐼",
        "ｄｏｇ",
    ],
)
def test_text_passes_to_the_letter(text: str) -> None:
    assert check_text(text, "the prompt", max_chars=100) == text


def test_a_subclass_of_str_keeps_its_characters_and_loses_its_methods() -> None:
    passed = check_text(Loud("dog"), "the prompt", max_chars=10)
    assert type(passed) is str
    assert passed == "dog"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "blank"),
        (" \n\t", "blank"),
        ("\u200b\u202e", "blank"),
        ("a\0b", "NUL character at position 1"),
        ("ab\ud83d", "surrogate pair at position 2"),
        ("a" * 101, "101 characters"),
        (b"dog", "must be a str, not bytes"),
        (None, "must be a str, not NoneType"),
        (5, "must be a str, not int"),
        (["dog"], "must be a str, not list"),
    ],
)
def test_what_is_no_text_is_refused_in_one_line(text: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_text(text, "the prompt", max_chars=100)
    assert str(caught.value).startswith("the prompt ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 200


@settings(max_examples=100, deadline=None)
@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs", "Zs", "Zl", "Zp", "Cc", "Cf"]), min_size=1)
)
def test_no_honest_text_is_refused(text: str) -> None:
    assert check_text(text, "the prompt", max_chars=10_000) == text


def test_phrases_are_kept_as_given_and_in_order() -> None:
    names = ["dog", "Dog", " dog", "brown dog, left", "e\u0301", "[DET]", "background"]
    assert check_phrases(names) == tuple(names)
    assert check_phrases(tuple(names)) == tuple(names)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("dog", "must be a list of str, not str"),
        (b"dog", "must be a list of str, not bytes"),
        ({"dog"}, "must be a list of str, not set"),
        (None, "must be a list of str, not NoneType"),
        ([], "names is empty"),
        (["dog", 5], r"names\[1\] must be a str, not int"),
        (["dog", " "], r"names\[1\] is blank"),
        (["a" * 10_000], r"names\[0\] has 10,000 characters"),
        (["dog", "cat", "dog"], r"names\[0\] and names\[2\] are the same name 'dog'"),
        (["\u00e9", "e\u0301"], r"names\[0\] and names\[1\] are the same name"),
        (["x"] * 5_001, "5,001 names are too many"),
    ],
)
def test_bad_lists_of_names_are_refused_by_place(names: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        check_phrases(names)
    assert len(str(caught.value)) <= 200


def test_five_thousand_names_are_taken() -> None:
    assert len(check_phrases([f"name {i}" for i in range(5_000)])) == 5_000
