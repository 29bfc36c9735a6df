"""A SentencePiece BPE model (`tokenizer.model`) as data: its pieces, and what they merge from.

The file is a protocol buffer; the few fields that matter are read here, and nothing else can be in it. Refused: any
model that is not BPE with byte fallback, any normalisation that would change letters.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from chiasm_registry.errors import CheckpointError, shown

_BPE = 2
_MOST_PIECES = 2**20
_LONGEST_PIECE = 256
_TEXT, _SCORE, _KIND = 0x0A, 0x15, 0x18  # how the fields of a piece begin


class Kind(IntEnum):
    """What a piece is for."""

    NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


@dataclass(frozen=True)
class Piece:
    """One entry of the vocabulary; its id is its place."""

    text: str
    score: float
    kind: Kind


@dataclass(frozen=True)
class Pieces:
    """The vocabulary in the order of its ids; `dummy_prefix`: a blank is put in front of every text."""

    pieces: tuple[Piece, ...]
    dummy_prefix: bool


def parse_pieces(data: bytes | bytearray, name: str) -> Pieces:
    """The model in the bytes of a `tokenizer.model`; `name` stands in front of every message."""
    try:
        pieces, trainer, normalizer = _parsed(memoryview(bytes(data)))
    except (IndexError, ValueError, KeyError, struct.error):
        raise CheckpointError(f"{name} is damaged, or is no SentencePiece model") from None
    if not 0 < len(pieces) <= _MOST_PIECES or len({piece.text for piece in pieces}) != len(pieces):
        raise CheckpointError(f"{name} has {len(pieces)} pieces; they must be different, and some")
    if trainer.get(3, 1) != _BPE or not trainer.get(35, 0):
        raise CheckpointError(f"{name} is not a BPE model with byte fallback; no other is read")
    if normalizer.get(2, b"") or normalizer.get(4, 1) or not normalizer.get(5, 1):
        raise CheckpointError(f"{name} normalises text; only models that keep every letter are read")
    if sum(piece.kind == Kind.BYTE for piece in pieces) != 256:
        raise CheckpointError(f"{name} lacks some of the 256 bytes")
    return Pieces(tuple(pieces), bool(normalizer.get(3, 1)))


def merges(pieces: Pieces, gone: Container[str] = ()) -> list[str]:
    """Every pair of pieces that makes a piece, a blank in between, the best first; without those that are `gone`."""
    merging = (Kind.NORMAL, Kind.UNUSED)
    ids = {p.text: k for k, p in enumerate(pieces.pieces) if p.kind in merging and p.text not in gone}
    found: list[tuple[float, int, int, int, str]] = []
    for whole, k in ids.items():
        score = -pieces.pieces[k].score
        for cut in range(1, len(whole)):
            left = ids.get(whole[:cut])
            if left is not None and (right := ids.get(whole[cut:])) is not None:
                found.append((score, k, left, right, f"{whole[:cut]} {whole[cut:]}"))
    return [pair for *_, pair in sorted(found)]


def _parsed(data: memoryview) -> tuple[list[Piece], dict[int, int | bytes], dict[int, int | bytes]]:
    pieces: list[Piece] = []
    kinds = {kind.value: kind for kind in Kind}
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    for field, value in _fields(data):
        if field == 1 and isinstance(value, bytes):
            pieces.append(_usual_piece(value, kinds) or _piece(dict(_fields(memoryview(value)))))
        elif field == 2 and isinstance(value, bytes):
            trainer = dict(_fields(memoryview(value)))
        elif field == 3 and isinstance(value, bytes):
            normalizer = dict(_fields(memoryview(value)))
    return pieces, trainer, normalizer


def _usual_piece(data: bytes, kinds: Mapping[int, Kind]) -> Piece | None:
    """A piece as every program writes it: text, score, and a kind unless it is normal; None for any other order."""
    start = 2 + data[1] if len(data) > 1 and data[0] == _TEXT and data[1] < 0x80 else 0
    end = start + 5
    usual = 2 < start < len(data) >= end and data[start] == _SCORE
    kind = kinds.get(data[end + 1]) if usual and len(data) == end + 2 and data[end] == _KIND else None
    if not usual or (kind is None and len(data) > end):
        return None
    (score,) = struct.unpack_from("<f", data, start + 1)
    return Piece(data[2:start].decode("utf-8"), score, kind or Kind.NORMAL) if score == score else None


def _piece(fields: dict[int, int | bytes]) -> Piece:
    text, score, kind = fields[1], fields.get(2, b"\0\0\0\0"), fields.get(3, 1)
    if not isinstance(text, bytes) or not isinstance(score, bytes) or not isinstance(kind, int):
        raise ValueError(shown(text, 20))
    spelled = text.decode("utf-8")
    number = float(struct.unpack("<f", score)[0])
    if not spelled or len(spelled) > _LONGEST_PIECE or number != number:
        raise ValueError(shown(spelled, 20))
    return Piece(spelled, number, Kind(kind))


def _fields(data: memoryview) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field: whole numbers as they are, everything else as bytes."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == 0:
            number, place = _varint(data, place)
            yield key >> 3, number
            continue
        if kind == 2:
            length, place = _varint(data, place)
        else:
            length = {1: 8, 5: 4}[kind]
        if place + length > len(data):
            raise ValueError("cut")
        yield key >> 3, bytes(data[place : place + length])
        place += length


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise ValueError("number too long")
