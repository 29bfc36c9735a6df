"""Pieces back to text, for SentencePiece models with byte fallback.

The tokenizers library gives up a whole run of bytes when one of them is no UTF-8; SentencePiece itself, and so the
official code, gives up that byte alone.
"""

from __future__ import annotations

from collections.abc import Iterable

_BLANK = "▁"
_NOT_A_CHARACTER = "\ufffd"
BYTES = {f"<0x{byte:02X}>": byte for byte in range(256)}


def join_pieces(pieces: Iterable[tuple[str, bool]], *, strip: bool) -> str:
    """The text of (piece, control token); `strip` takes the blank away that was put in front of the whole."""
    text, run = "", bytearray()
    for piece, control in pieces:
        if not control and piece in BYTES:
            run.append(BYTES[piece])
            continue
        text += spelled(run) + (piece if control else piece.replace(_BLANK, " "))
        run.clear()
    text += spelled(run)
    return text.removeprefix(" ") if strip else text


def spelled(data: bytes | bytearray) -> str:
    """UTF-8, in which a byte that belongs to no character becomes U+FFFD by itself."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        good = data[: error.start].decode("utf-8")
        return good + _NOT_A_CHARACTER + spelled(data[error.start + 1 :])
