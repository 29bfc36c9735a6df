"""The gate for words that people type: no text, blank, too long or not encodable is refused; nothing is changed."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from chiasm_registry.errors import InputError, shown

from ..limits import LIMITS

# Blanks, controls, zero-width and direction marks; marks and fillers that show nothing of themselves.
_INVISIBLE = frozenset({"Zs", "Zl", "Zp", "Cc", "Cf", "Mn", "Me"})
_FILLERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def check_text(text: object, what: str, *, max_chars: int) -> str:
    """`text` to the letter, as a plain `str`; `what` is its name in the message of the `InputError`."""
    if not isinstance(text, str):
        raise InputError(f"{what} must be a str, not {type(text).__name__}")
    text = str.__str__(text)  # a subclass keeps its characters and loses its own methods
    if len(text) > max_chars:
        raise InputError(f"{what} has {len(text):,} characters; at most {max_chars:,} are taken")
    if all(c in _FILLERS or unicodedata.category(c) in _INVISIBLE for c in text):
        raise InputError(f"{what} is blank; write something that can be seen")
    check_encodable(text, what)
    return text


def check_encodable(text: str, what: str) -> None:
    """Refuse the two characters that no tokenizer should meet: NUL and half a surrogate pair."""
    if "\0" in text:
        raise InputError(f"{what} holds a NUL character at position {text.index(chr(0))}; take it out")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        place = error.start
        raise InputError(f"{what} holds half a surrogate pair at position {place}; it is no valid Unicode") from None


def check_phrases(
    names: object, *, max_phrases: int = LIMITS.phrases, max_chars: int = LIMITS.phrase_chars
) -> tuple[str, ...]:
    """The phrases of a request, as given and in order; two that differ only in composition (NFC) are refused."""
    if isinstance(names, (str, bytes)) or not isinstance(names, Sequence):
        raise InputError(f"names must be a list of str, not {type(names).__name__}; for one name write ['dog']")
    if not names:
        raise InputError("names is empty; give at least one name")
    if len(names) > max_phrases:
        raise InputError(f"{len(names):,} names are too many for one request; at most {max_phrases:,} are taken")
    phrases = tuple(check_text(name, f"names[{i}]", max_chars=max_chars) for i, name in enumerate(names))
    first: dict[str, int] = {}
    for i, phrase in enumerate(phrases):
        j = first.setdefault(unicodedata.normalize("NFC", phrase), i)
        if j != i:
            raise InputError(f"names[{j}] and names[{i}] are the same name '{shown(phrase, 60)}'; give each name once")
    return phrases
