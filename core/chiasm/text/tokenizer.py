"""A tokenizer with two mouths: our template pieces may hold control tokens, a user's words never become one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from chiasm_registry.errors import CheckpointError, ChiasmError, InputError, shown

from ..checkpoint.files import folder_path
from .gate import check_encodable
from .patterns import check_patterns
from .quirks import OURS, parted, quirks_of
from .shipped import shipped_json
from .spelled import join_pieces

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Engine


class Tokenizer:
    """Text to ids and back; frozen once made. Make one with `from_json`, `load_tokenizer` or `train_tokenizer`.

    `control_ids` holds every token that means something to the model and not to a reader: the markers of the base
    vocabulary and the routing tokens of the tasks. `prefix` stands in front of every prompt (a BOS, or nothing).

    A `tokenizer.json` may say more under the key `chiasm`: `plain`, ids of added tokens that are ordinary text; `lead`,
    what is put in front of a prompt, unless it begins with a token of `no_lead_before`; `aliases`, other spellings of
    control tokens that only a template may use; `fallback` and `prepends`, how pieces become text again.
    """

    def __init__(self, base_json: str, tasks: Sequence[str] = ()) -> None:
        self._base_json = base_json
        engine_json, self._quirks = parted(base_json)
        self._template = _engine(engine_json)
        self._user = _engine(engine_json)
        self._user.encode_special_tokens = True  # control strings are spelled out like any other word
        self.size: int = _size(self._template)
        self.tasks: tuple[str, ...] = tuple(tasks)
        for engine in (self._template, self._user):
            _add_tasks(engine, self.tasks, self.size)
        _check_controls(self._template)
        added = {i: t for i, t in self._template.get_added_tokens_decoder().items() if t.special}
        self.control_ids: Mapping[str, int] = MappingProxyType({added[i].content: i for i in sorted(added)})
        self._controls = frozenset(added)
        self._strips = {added[i].content: (added[i].lstrip, added[i].rstrip) for i in added}
        self._marker = re.compile("|".join(map(re.escape, sorted(self.control_ids, key=len, reverse=True))) or r"(?!)")
        self.prefix: tuple[int, ...] = tuple(self._template.encode("", add_special_tokens=True).ids)

    @classmethod
    def from_json(cls, text: str, tasks: Iterable[str] = ()) -> Tokenizer:
        """From the text of a `tokenizer.json`; one whose control tokens a user could reach or split is refused."""
        _check_json(text)
        return cls(text, tuple(tasks))

    def json(self) -> str:
        """The base vocabulary as `from_json` reads it; routing tokens are not in it, they travel with their tasks."""
        return self._base_json

    def with_tasks(self, tokens: Iterable[str]) -> Tokenizer:
        """The same base vocabulary with these routing tokens at the ids `size`, `size + 1`, ... in order."""
        return Tokenizer(self._base_json, tuple(tokens))

    def encode_template(self, text: str) -> list[int]:
        """Ids of a whole prompt of ours, with what stands in front of it: control tokens in it become their ids."""
        text = self._quirks.aliased(text)
        return list(self._template.encode(self._quirks.lead_of(text) + text, add_special_tokens=True).ids)

    def encode_parts(self, parts: Sequence[tuple[str, bool]], *, begins: bool = True) -> Encoded:
        """Ids of a whole prompt whose parts are (text, ours): only in ours a control token is one.

        Without `begins` something was said before, and nothing is put in front.

        Words of ours and of others that meet between two control tokens are encoded together, as they were trained.
        """
        ids, controls = list(self.prefix) if begins else [], []
        plain = self._lead(parts) if begins else ""
        strip = False
        for number, (text, ours) in enumerate(parts):
            place = 0
            for marker in self._marker.finditer(text) if ours else ():
                left, right = self._strips[marker.group()]
                ids += self._plain(plain + text[place : marker.start()], strip, left)
                controls.append((len(ids), number))
                ids.append(self.control_ids[marker.group()])
                plain, place, strip = "", marker.end(), right
            plain += text[place:]
        return Encoded([*ids, *self._plain(plain, strip, False)], controls)

    def _lead(self, parts: Sequence[tuple[str, bool]]) -> str:
        """What stands in front of a prompt; what a user wrote is never a token that would take it away."""
        text, ours = next(((text, ours) for text, ours in parts if text), ("", True))
        return self._quirks.lead_of(text if ours else "." + text)

    def _plain(self, text: str, strip_start: bool, strip_end: bool) -> list[int]:
        text = text.lstrip() if strip_start else text
        text = text.rstrip() if strip_end else text
        return self.encode_user(text) if text else []

    def encode_user(self, text: str) -> list[int]:
        """Ids of foreign words: never a control id, whatever they spell; `decode` gives them back to the letter."""
        check_encodable(text, "the text")
        ids = list(self._user.encode(text, add_special_tokens=False).ids)
        leaked = self._controls.intersection(ids)
        if leaked:
            control = shown(self.token_of(min(leaked)), 40)
            raise InputError(f"this tokenizer cannot spell '{control}' as plain text; take it out of the text")
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, control tokens included; a cut character becomes U+FFFD.

        What stands between two control tokens may be decoded by itself.
        """
        if not self._quirks.fallback:
            return str(self._template.decode(list(ids), skip_special_tokens=False))
        pieces = ((self._template.id_to_token(i) or "", i in self._controls) for i in ids)
        return join_pieces(pieces, strip=self._quirks.prepends)  # a lead stands in front of prompts alone

    def id_of(self, token: str) -> int:
        """The one id of a token of the vocabulary."""
        found = self._template.token_to_id(token)
        if found is None:
            raise ChiasmError(f"the tokenizer has no token '{shown(token, 60)}'")
        return int(found)

    def token_of(self, token_id: int) -> str:
        """The token with this id, as it is written in the vocabulary."""
        found = self._template.id_to_token(token_id) if token_id >= 0 else None
        if found is None:
            raise ChiasmError(f"the tokenizer has no id {token_id}; it ends at {self.size + len(self.tasks) - 1}")
        return str(found)


def load_tokenizer(path: str | Path, *, follow_links: bool = False) -> Tokenizer:
    """The tokenizer of a model's folder, chiasm's own or one as others ship it, without weights and without tasks."""
    return Tokenizer.from_json(shipped_json(folder_path(path), follow_links=follow_links))


class Encoded(NamedTuple):
    """A prompt, and where its control tokens stand: (place, number of the part that wrote it)."""

    ids: list[int]
    controls: list[tuple[int, int]]


def _engine(text: str) -> Engine:
    from tokenizers import Tokenizer as Engine

    try:
        engine = Engine.from_str(text)
    except Exception:  # the library raises bare Exception and repeats the file in it
        raise CheckpointError("the tokenizer's JSON is damaged; the tokenizers library cannot build it") from None
    engine.no_truncation()
    engine.no_padding()
    return engine


def _size(engine: Engine) -> int:
    """One more than the highest id, so that a new token never meets an old one."""
    return max(engine.get_vocab(with_added_tokens=True).values(), default=-1) + 1


def _add_tasks(engine: Engine, tokens: Sequence[str], size: int) -> None:
    from tokenizers import AddedToken

    for place, token in enumerate(tokens):
        if engine.token_to_id(token) is not None:
            raise ChiasmError(f"the routing token '{shown(token, 60)}' is already in the vocabulary; take another")
        engine.add_tokens([AddedToken(token, special=True, normalized=False)])
        if engine.token_to_id(token) != size + place:
            raise ChiasmError(f"the routing token '{shown(token, 60)}' did not get the id {size + place}")


def _check_controls(engine: Engine) -> None:
    for token_id, token in engine.get_added_tokens_decoder().items():
        if token.special and engine.encode(token.content, add_special_tokens=False).ids != [token_id]:
            raise CheckpointError(f"the control token '{shown(token.content, 60)}' is not one id of its own")


def _check_json(text: str) -> None:
    """Each added token must be special, unnormalised and alone on its id, or a user's words could become one."""
    try:
        whole = json.loads(text)
        added = whole["added_tokens"]
        plain = quirks_of(whole.get(OURS, {})).plain
        for part in ("normalizer", "pre_tokenizer", "decoder"):
            check_patterns(whole.get(part))
        tokens = [(t["id"], t["content"], t["special"], t["normalized"]) for t in added]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CheckpointError("the tokenizer's JSON has no readable list added_tokens") from None
    for place, content, special, normalized in tokens:
        if type(place) is not int or not isinstance(content, str):
            said = f"{shown(repr(content), 40)} with the id {shown(repr(place), 20)}"
            raise CheckpointError(f"tokenizer.json: added token {said}; it must be a text with a whole number")
        if (special is not True and place not in plain) or normalized is not False:
            raise CheckpointError(
                f"control token '{shown(content, 60)}' of tokenizer.json must be special, not normalized"
            )
    if len({t[0] for t in tokens}) != len(tokens) or len({t[1] for t in tokens}) != len(tokens):
        raise CheckpointError("two control tokens of tokenizer.json share one id or one spelling")
