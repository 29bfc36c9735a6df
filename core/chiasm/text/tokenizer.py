"""A tokenizer with two mouths: our template pieces may hold control tokens, a user's words never become one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from chiasm_registry.errors import CheckpointError, ChiasmError, InputError, shown, shown_path

from ..limits import LIMITS
from .gate import check_encodable

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Engine


class Tokenizer:
    """Text to ids and back; frozen once made. Make one with `from_json`, `load_tokenizer` or `train_tokenizer`.

    `control_ids` holds every token that means something to the model and not to a reader: the markers of the base
    vocabulary and the routing tokens of the tasks. `prefix` stands in front of every prompt (a BOS, or nothing).
    """

    def __init__(self, base_json: str, tasks: Sequence[str] = ()) -> None:
        self._base_json = base_json
        self._template = _engine(base_json)
        self._user = _engine(base_json)
        self._user.encode_special_tokens = True  # control strings are spelled out like any other word
        self.size: int = _size(self._template)
        self.tasks: tuple[str, ...] = tuple(tasks)
        for engine in (self._template, self._user):
            _add_tasks(engine, self.tasks, self.size)
        _check_controls(self._template)
        added = self._template.get_added_tokens_decoder()
        self.control_ids: Mapping[str, int] = MappingProxyType({added[i].content: i for i in sorted(added)})
        self._controls = frozenset(added)
        self.prefix: tuple[int, ...] = tuple(self._template.encode("", add_special_tokens=True).ids)

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        """From the text of a `tokenizer.json`; one whose control tokens a user could reach or split is refused."""
        _check_json(text)
        return cls(text)

    def json(self) -> str:
        """The base vocabulary as `from_json` reads it; routing tokens are not in it, they travel with their tasks."""
        return self._base_json

    def with_tasks(self, tokens: Iterable[str]) -> Tokenizer:
        """The same base vocabulary with these routing tokens at the ids `size`, `size + 1`, ... in order."""
        return Tokenizer(self._base_json, tuple(tokens))

    def encode_template(self, text: str) -> list[int]:
        """Ids of a piece of ours: control tokens in it become their ids."""
        return list(self._template.encode(text, add_special_tokens=False).ids)

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
        """The text of `ids`, control tokens included; a cut character becomes U+FFFD."""
        return str(self._template.decode(list(ids), skip_special_tokens=False))

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


def load_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer of a checkpoint folder, without its weights and without the tasks' routing tokens."""
    file = Path(path) / "tokenizer.json"
    if not file.is_file():
        raise CheckpointError(f"'{shown_path(path)}' has no tokenizer.json; name a folder that chiasm wrote")
    if file.stat().st_size > LIMITS.tokenizer_bytes:
        raise CheckpointError(f"'{shown_path(file)}' is larger than {LIMITS.tokenizer_bytes:,} bytes")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise CheckpointError(f"'{shown_path(file)}' cannot be read as UTF-8 text") from None
    return Tokenizer.from_json(text)


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
        if engine.encode(token.content, add_special_tokens=False).ids != [token_id]:
            raise CheckpointError(f"the control token '{shown(token.content, 60)}' is not one id of its own")


def _check_json(text: str) -> None:
    """Each added token must be special, unnormalised and alone on its id, or a user's words could become one."""
    try:
        added = json.loads(text)["added_tokens"]
        tokens = [(t["id"], t["content"], t["special"], t["normalized"]) for t in added]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CheckpointError("the tokenizer's JSON has no readable list added_tokens") from None
    for _, content, special, normalized in tokens:
        if special is not True or normalized is not False:
            raise CheckpointError(
                f"control token '{shown(content, 60)}' of tokenizer.json must be special, not normalized"
            )
    if len({t[0] for t in tokens}) != len(tokens) or len({t[1] for t in tokens}) != len(tokens):
        raise CheckpointError("two control tokens of tokenizer.json share one id or one spelling")
