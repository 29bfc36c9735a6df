"""What a `tokenizer.json` says that its engine does not know: the key `chiasm`, read and checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chiasm_registry.errors import CheckpointError, shown

OURS = "chiasm"  # the key of a `tokenizer.json` that no other program knows


@dataclass(frozen=True)
class Quirks:
    """What a tokenizer does that its engine cannot say."""

    plain: frozenset[int] = frozenset()
    lead: str = ""
    no_lead_before: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    fallback: bool = False  # what is no piece is spelled in bytes
    prepends: bool = False  # a blank stands in front of every text

    def aliased(self, text: str) -> str:
        """`text` with control tokens under their own names."""
        for alias, token in self.aliases.items():
            text = text.replace(alias, token)
        return text

    def lead_of(self, text: str) -> str:
        """What stands in front of a prompt that begins with `text`."""
        return "" if not text or text.startswith(self.no_lead_before or ("\0",)) else self.lead


def parted(text: str) -> tuple[str, Quirks]:
    """What the engine reads, and what it does not know; of a text that was checked."""
    if f'"{OURS}"' not in text:
        return text, Quirks()
    rest, _, end = text.rpartition(f', "{OURS}": ')
    try:  # as we write it, at the end: the megabytes in front need not be read for it
        engine, said = f"{rest}}}", json.loads(end[:-1])
    except ValueError:
        whole = json.loads(text)
        said = whole.pop(OURS, {})
        engine = json.dumps(whole, ensure_ascii=False)
    return engine, quirks_of(said)


def quirks_of(said: Any) -> Quirks:
    """What stands under the key; other keys than those of `Quirks` mean nothing. Raises `CheckpointError`."""
    if not isinstance(said, dict):
        raise CheckpointError(f"tokenizer.json: {OURS} is {shown(repr(said), 40)}; it must be an object")
    for key, (fits, wanted) in _RULES.items():
        if key in said and not fits(said[key]):
            raise CheckpointError(
                f"tokenizer.json: {key} of {OURS} is {shown(repr(said[key]), 40)}; it must be {wanted}"
            )
    plain, before = frozenset(said.get("plain", ())), tuple(said.get("no_lead_before", ()))
    kinds = said.get("aliases", {}), said.get("fallback", False), said.get("prepends", False)
    return Quirks(plain, said.get("lead", ""), before, *kinds)


def _are(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(type(item) is kind for item in value)


def _are_aliases(value: Any) -> bool:
    return isinstance(value, dict) and all(value) and all(isinstance(token, str) for token in value.values())


def _is_flag(value: Any) -> bool:
    return type(value) is bool


_RULES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "plain": (lambda value: _are(value, int), "a list of whole numbers"),
    "lead": (lambda value: isinstance(value, str), "a text"),
    "no_lead_before": (lambda value: _are(value, str), "a list of texts"),
    "aliases": (_are_aliases, "an object of texts"),
    "fallback": (_is_flag, "true or false"),
    "prepends": (_is_flag, "true or false"),
}
