"""The tokens that a folder adds to its vocabulary: control tokens, each with one id, none of which a user can type."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from chiasm_registry.errors import CheckpointError, shown

MARKERS = frozenset(
    re.findall(
        r"\S+",
        "<img> </img> <IMG_CONTEXT> <quad> </quad> <ref> </ref> <box> </box> "
        "<|im_start|> <|im_end|> <|system|> <|user|> <|assistant|> <|end|>",
    )
)
IMAGE = "<IMG_CONTEXT>"
_LIST = '"added_tokens": '
_NAMED = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


@dataclass(frozen=True)
class Added:
    """Added tokens by content; `specials` are those that the official code calls special by name."""

    tokens: Mapping[str, int]
    strips: Mapping[str, tuple[bool, bool]]  # whether a token takes the blanks in front of it, and those behind it
    specials: frozenset[str]
    bos: str | None
    plain: Mapping[str, int] = field(default_factory=dict)  # whole pieces that are ordinary text

    @property
    def ids(self) -> set[int]:
        """The ids of the control tokens."""
        return set(self.tokens.values())

    def with_plain(self, plain: Mapping[str, int]) -> Added:
        """With pieces that are matched whole, and mean nothing but themselves."""
        return replace(self, plain=plain)

    def entries(self) -> list[dict[str, Any]]:
        """As `tokenizer.json` lists them."""
        made = [self._entry(text, place, special=True) for text, place in self.tokens.items()]
        made += [self._entry(text, place, special=False) for text, place in self.plain.items()]
        return sorted(made, key=lambda entry: int(entry["id"]))

    def _entry(self, text: str, place: int, *, special: bool) -> dict[str, Any]:
        left, right = self.strips.get(text, (False, False))
        flags = {"single_word": False, "lstrip": left, "rstrip": right, "normalized": False, "special": special}
        return {"id": place, "content": text, **flags}


def read_added(
    config: Mapping[str, Any], older: Mapping[str, Any], named: Mapping[str, Any], where: str
) -> Added:
    """From `tokenizer_config.json`, `added_tokens.json` and `special_tokens_map.json`, which must agree."""
    tokens: dict[str, int] = {}
    strips: dict[str, tuple[bool, bool]] = {}
    listed = config.get("added_tokens_decoder", {})
    if not isinstance(listed, dict):
        raise CheckpointError(f"{where}: added_tokens_decoder must be an object")
    for key, entry in listed.items():
        content = entry.get("content") if isinstance(entry, dict) else None
        if not isinstance(content, str) or not content or not key.isdecimal() or len(key) > 7:
            raise CheckpointError(f"{where}: added token {shown(key, 20)} is not described as transformers does it")
        if content in MARKERS and entry.get("special") is not True:
            raise CheckpointError(f"{where}: tokenizer_config.json: '{content}' must be special; set it to true")
        _enter(tokens, content, int(key), where)
        strips[content] = (entry.get("lstrip") is True, entry.get("rstrip") is True)
    for content, place in older.items():
        if type(place) is not int or not 0 <= place < 2**22:
            raise CheckpointError(f"{where}: added_tokens.json: '{shown(content, 40)}' has no whole number")
        _enter(tokens, content, place, where)
    names = {**named, **{key: config[key] for key in (*_NAMED, "additional_special_tokens") if config.get(key)}}
    more = names.get("additional_special_tokens") or []
    specials = {_spelled(names.get(key)) for key in _NAMED}
    specials |= {_spelled(token) for token in more} if isinstance(more, list) else set()
    return Added(tokens, strips, frozenset(s for s in specials if s), _spelled(names.get("bos_token")))


def listed_tokens(tokenizer_json: str) -> list[tuple[str, int]]:
    """Content and id of each added token in the text of a `tokenizer.json`.

    The list alone is read where it stands in front of the megabytes of a vocabulary, as every program writes it.
    """
    begin = tokenizer_json.find(_LIST)
    try:
        found = json.JSONDecoder().raw_decode(tokenizer_json, begin + len(_LIST))[0] if begin >= 0 else None
        found = found if isinstance(found, list) else json.loads(tokenizer_json)["added_tokens"]
        return [(token["content"], token["id"]) for token in found]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CheckpointError("the tokenizer's JSON has no readable list added_tokens") from None


def image_id(tokens: Iterable[tuple[str, Any]], vocabulary: int, where: str) -> int:
    """The id of an image's tokens among the added ones; it must have a row in the embedding."""
    place = next((place for content, place in tokens if content == IMAGE), None)
    if type(place) is not int or not 0 <= place < vocabulary:
        raise CheckpointError(f"the tokenizer in {where} has no {IMAGE} below vocab_size {vocabulary}")
    return place


def _enter(tokens: dict[str, int], content: str, place: int, where: str) -> None:
    if tokens.get(content, place) != place or (content not in tokens and place in tokens.values()):
        raise CheckpointError(f"{where}: '{shown(content, 40)}' and another added token share one id or one spelling")
    tokens[content] = place


def _spelled(token: Any) -> str | None:
    """The spelling of a token that is written as a text or as an object."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else None
