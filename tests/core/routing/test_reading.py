"""An answer read as it grows says what it says as a whole, for any tokenizer."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest
from chiasm.model import Model
from chiasm.routing.reading import Reader, read_answer
from core.tiny import talkative, tiny_model


@pytest.fixture(scope="module")
def model() -> Model:
    return talkative(tiny_model())


class ByteFallback:
    """Spells as SentencePiece does: ids below 256 are bytes, a run of them that is no UTF-8 is cut as a whole."""

    def decode(self, ids: Iterable[int]) -> str:
        text, run = "", b""
        for token in [*ids, 256]:
            if token < 256:
                run += bytes([token])
                continue
            try:
                text += run.decode()
            except UnicodeDecodeError:
                text += "\ufffd" * len(run)
            run = b""
            text += f" w{token}" if token > 256 else ""
        return text.removeprefix(" ")


def said(reader: Reader, ids: Iterable[int]) -> list[str]:
    pieces = []
    for token in ids:
        reader.read(token)
        pieces.append(reader.take())
    reader.finish()
    return [*pieces, reader.take()]


@pytest.mark.parametrize("seed", range(30))
def test_pieces_make_the_text_whatever_the_bytes(model: Model, seed: int) -> None:
    """Random ids of two kinds of tokenizers, with control tokens and stop strings among them."""
    rows, m, chance = model.network.rows, model.markers, random.Random(seed)
    tokenizer: Any = model.tokenizer if seed % 2 else ByteFallback()
    plain = [i for i in range(rows.base) if i not in (m.ref, m.unref, m.end)]
    ids = [chance.choice([*chance.sample(plain, 3), m.ref, m.unref, rows.token_id("level")]) for _ in range(60)]
    stops = [] if seed % 3 else [tokenizer.decode(ids[20:22])[-2:] or "x"]
    reader = Reader(tokenizer, rows, m, stops)
    pieces = said(reader, ids)
    text, heard = read_answer(ids, tokenizer, rows, m, stops)
    assert "".join(pieces) == reader.text == text
    assert reader.heard == heard
    assert all(stop not in text for stop in stops)
    for one in heard:
        assert one.span is None or text[slice(*one.span)] == one.phrase


@pytest.mark.parametrize("text", ["naïve 東京 🦊", "👩‍👩‍👧 family", "плюс ½"])
def test_a_character_comes_whole(model: Model, text: str) -> None:
    tokens = model.tokenizer.encode_user(text)
    bytewise: Any = ByteFallback()
    for tokenizer, ids in ((model.tokenizer, tokens), (bytewise, list(text.encode()))):
        pieces = said(Reader(tokenizer, model.network.rows, model.markers), ids)
        assert "".join(pieces) == text
        assert all("\ufffd" not in piece for piece in pieces)
        assert len([piece for piece in pieces if piece]) > 3


def test_what_may_begin_a_stop_string_waits_until_it_does_not(model: Model) -> None:
    encode = model.tokenizer.encode_user
    reader = Reader(model.tokenizer, model.network.rows, model.markers, ["aab", "b!"])
    pieces = []
    for letter in "aaab":
        for token in encode(letter):
            reader.read(token)
        pieces.append(reader.take())
    assert pieces == ["", "", "a", ""]
    assert reader.stopped
    assert reader.text == "a"
