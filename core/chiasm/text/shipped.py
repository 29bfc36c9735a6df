"""Tokenizers as official folders ship them, made one `tokenizer.json`: byte-level BPE, SentencePiece, or one already.

No code of the folder and none of its chat templates is looked at. The files are read as the slow tokenizers of the
official code read them, for those made the ids that the models were trained on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chiasm_registry.errors import CheckpointError, shown, shown_path

from ..checkpoint.files import read_file
from ..limits import LIMITS
from ..strict_json import parse_object
from .added import MARKERS, Added, image_id, listed_tokens, read_added
from .patterns import QWEN2
from .sentencepiece import Kind, Pieces, merges, parse_pieces

CONFIG, WHOLE, MODEL = "tokenizer_config.json", "tokenizer.json", "tokenizer.model"
VOCAB, MERGES = "vocab.json", "merges.txt"
FILES = (CONFIG, "special_tokens_map.json", "added_tokens.json", WHOLE, MODEL, VOCAB, MERGES)
_BLANK = "▁"  # how SentencePiece writes a blank
_WITHOUT_BOS = ("Qwen2Tokenizer", "Qwen2TokenizerFast")


def shipped_json(folder: Path, *, follow_links: bool = False) -> str:
    """The text of a `tokenizer.json` for the tokenizer in `folder`; raises `CheckpointError`."""
    files = _Files(folder, follow_links)
    config = files.optional(CONFIG)
    if files.are_whole(config):
        return _made_special(files.text(WHOLE))
    added = files.added(config)
    if files.has(MODEL):
        return json.dumps(_sentencepiece(files, config, added), ensure_ascii=False)
    if files.has(VOCAB) and files.has(MERGES):
        return json.dumps(_byte_level(files, config, added), ensure_ascii=False)
    raise files.missing()


def shipped_image_id(folder: Path, vocabulary: int, *, follow_links: bool = False) -> int:
    """The id of an image's tokens in `folder`, whose vocabulary is not read for it; raises `CheckpointError`."""
    files = _Files(folder, follow_links)
    config = files.optional(CONFIG)
    if not any(map(files.has, (WHOLE, MODEL, VOCAB))):
        raise files.missing()
    whole = files.are_whole(config)
    tokens = listed_tokens(files.text(WHOLE)) if whole else files.added(config).tokens.items()
    return image_id(tokens, vocabulary, files.where)


def _made_special(text: str) -> str:
    """A shipped `tokenizer.json` whose added tokens no user can reach; a marker that he can is left to be refused."""
    try:
        whole = json.loads(text)
        reachable = [t for t in whole["added_tokens"] if t["content"] not in MARKERS]
        if all(t["special"] and not t["normalized"] for t in reachable):
            return text
        for token in reachable:
            token |= {"special": True, "normalized": False}
    except (ValueError, KeyError, TypeError, RecursionError):
        return text  # to be refused with its own words
    return json.dumps(whole, ensure_ascii=False)


class _Files:
    """The folder's tokenizer files, each within its limit."""

    def __init__(self, folder: Path, follow_links: bool) -> None:
        self.folder, self.follow_links = folder, follow_links
        self.where = f"'{shown_path(folder)}'"

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    def data(self, name: str) -> bytearray:
        path = self.folder / name
        return read_file(path, f"'{shown_path(path)}'", LIMITS.tokenizer_bytes, follow_links=self.follow_links)

    def text(self, name: str) -> str:
        try:
            return self.data(name).decode("utf-8")
        except UnicodeDecodeError:
            raise CheckpointError(f"'{shown_path(self.folder / name)}' cannot be read as UTF-8 text") from None

    def table(self, name: str) -> dict[str, Any]:
        return parse_object(self.data(name), f"'{shown_path(self.folder / name)}'", error=CheckpointError)

    def optional(self, name: str) -> dict[str, Any]:
        return self.table(name) if self.has(name) else {}

    def missing(self) -> CheckpointError:
        return CheckpointError(f"{self.where} has no {WHOLE}, no {MODEL} and no {VOCAB} with {MERGES}; copy one there")

    def are_whole(self, config: Mapping[str, Any]) -> bool:
        """Whether the tokenizer is the folder's `tokenizer.json`, and not that of the slow one beside it."""
        named = config.get("tokenizer_class") == "PreTrainedTokenizerFast"
        return self.has(WHOLE) and (named or not (self.has(MODEL) or self.has(VOCAB)))

    def added(self, config: Mapping[str, Any]) -> Added:
        older, named = self.optional("added_tokens.json"), self.optional("special_tokens_map.json")
        return read_added(config, older, named, self.where)


def _engine(added: Added, model: Mapping[str, Any], **parts: Any) -> dict[str, Any]:
    """The whole of a `tokenizer.json`."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added.entries(),
        **parts,
        "model": {
            "type": "BPE",
            "dropout": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "ignore_merges": False,
            **model,
        },
    }


def _byte_level(files: _Files, config: Mapping[str, Any], added: Added) -> dict[str, Any]:
    """Qwen2's: a vocabulary over bytes written as letters, with its merges."""
    if config.get("tokenizer_class") not in (None, *_WITHOUT_BOS):
        kind = shown(repr(config.get("tokenizer_class")), 40)
        raise CheckpointError(f"{files.where} has a {kind} in {VOCAB}; only Qwen2Tokenizer is read from there")
    vocab = files.table(VOCAB)
    if not all(type(place) is int and 0 <= place < 2**22 for place in vocab.values()):
        raise CheckpointError(f"{files.where}: {VOCAB} must give each token a whole number")
    pairs = [line for line in files.text(MERGES).split("\n") if line and not line.startswith("#version")]
    parts = (line.split(" ") for line in pairs)
    if not all(len(p) == 2 and p[0] in vocab and p[1] in vocab and p[0] + p[1] in vocab for p in parts):
        raise CheckpointError(f"{files.where}: {MERGES} does not fit {VOCAB}; download both again")
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": QWEN2}, "behavior": "Isolated", "invert": False}
    return _engine(
        added,
        {"unk_token": None, "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": pairs},
        normalizer={"type": "NFC"},
        pre_tokenizer={"type": "Sequence", "pretokenizers": [split, byte_level]},
        post_processor=None,
        decoder=byte_level,
    )


def _sentencepiece(files: _Files, config: Mapping[str, Any], added: Added) -> dict[str, Any]:
    """InternLM2's, Llama's and Phi-3's: pieces with scores. An added token takes the place of the piece at its id."""
    pieces = parse_pieces(files.data(MODEL), f"'{shown_path(files.folder / MODEL)}'")
    vocab, aliases = _vocabulary(pieces, added)
    legacy = config.get("legacy", True) is not False or config.get("tokenizer_class") == "InternLM2Tokenizer"
    every, first = pieces.dummy_prefix and legacy, pieces.dummy_prefix and not legacy
    own = {piece.text: k for k, piece in enumerate(pieces.pieces) if piece.kind == Kind.USER_DEFINED}
    plain = {text: k for text, k in own.items() if vocab.get(text) == k and k not in added.ids}
    blanks = {"type": "Replace", "pattern": {"String": " "}, "content": _BLANK}
    front = [{"type": "Prepend", "prepend": _BLANK}] if every else []
    back: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": _BLANK}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    back += [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if pieces.dummy_prefix else []
    unknown = next((piece.text for piece in pieces.pieces if piece.kind == Kind.UNKNOWN), None)
    pairs = merges(pieces, gone={piece.text for piece in pieces.pieces} - vocab.keys())
    engine = _engine(
        added.with_plain(plain),
        {"unk_token": unknown, "fuse_unk": True, "byte_fallback": True, "vocab": vocab, "merges": pairs},
        normalizer={"type": "Sequence", "normalizers": [*front, blanks]},
        pre_tokenizer=None,
        post_processor=_bos(config, added, vocab, pieces, files.where),
        decoder={"type": "Sequence", "decoders": back},
    )
    lead = {"lead": _BLANK, "no_lead_before": sorted(added.specials)} if first else {}
    ours = {"plain": sorted(plain.values()), "aliases": aliases, "fallback": True, "prepends": every}
    return {**engine, "chiasm": {**ours, **lead}}


def _vocabulary(pieces: Pieces, added: Added) -> tuple[dict[str, int], dict[str, str]]:
    """Every id's token, and of the pieces that gave way to a token the text that meant it."""
    vocab = {piece.text: k for k, piece in enumerate(pieces.pieces)}
    aliases: dict[str, str] = {}
    for token, place in added.tokens.items():
        old = pieces.pieces[place] if place < len(pieces.pieces) else None
        if old is not None and old.text != token:
            del vocab[old.text]
            if old.kind == Kind.USER_DEFINED:
                aliases[old.text] = token
        if vocab.get(token, place) != place:
            raise CheckpointError(f"the token '{shown(token, 40)}' has the id {place}, {MODEL} says {vocab[token]}")
        vocab[token] = place
    return vocab, aliases


def _bos(
    config: Mapping[str, Any], added: Added, vocab: Mapping[str, int], pieces: Pieces, where: str
) -> dict[str, Any] | None:
    """The step that puts the beginning in front of every text."""
    if config.get("add_eos_token"):
        raise CheckpointError(f"{where}: add_eos_token would end every prompt before its answer; set it to false")
    if config.get("add_bos_token", True) is False:
        return None
    token = added.bos or next((piece.text for piece in pieces.pieces if piece.kind == Kind.CONTROL), None)
    if token is None or token not in vocab:
        raise CheckpointError(f"{where}: the tokenizer has no token for the beginning of a text")
    first = {"SpecialToken": {"id": token, "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [first, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [first, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {token: {"id": token, "ids": [vocab[token]], "tokens": [token]}},
    }
