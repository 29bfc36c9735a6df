"""The regular expressions that split text into words, of every vocabulary that is read; no folder brings its own.

A pattern from a file could take for ever on an innocent text.
"""

from __future__ import annotations

from typing import Any

from chiasm_registry.errors import CheckpointError, shown

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _REST
LLAMA3 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _REST
# a word is a run of letters with their accents; everything else (blank, digit, mark) stands alone
WORD_OR_CHARACTER = r"\p{L}[\p{L}\p{M}]*|[^\p{L}]"
KNOWN = frozenset((QWEN2, LLAMA3, WORD_OR_CHARACTER))


def check_patterns(part: Any) -> None:
    """Refuse a `tokenizer.json`, or a part of one, that holds a regular expression of its own."""
    for key, value in part.items() if isinstance(part, dict) else ():
        if key == "Regex" and not (isinstance(value, str) and value in KNOWN):
            raise CheckpointError(f"tokenizer.json has the unknown pattern {shown(repr(value), 60)}; it is not run")
    for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        if isinstance(value, (dict, list)):
            check_patterns(value)
