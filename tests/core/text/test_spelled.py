"""Pieces back to text: a byte that belongs to no character is lost alone."""

from __future__ import annotations

import pytest
from chiasm.text.spelled import join_pieces, spelled


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"", ""), ("é🐼".encode(), "é🐼"), (b"\xffO\xfe", "\ufffdO\ufffd"), (b"\xf0\x9f\x90\n", "\ufffd" * 3 + "\n"),
     (b"\n\xe4\xbd", "\n\ufffd\ufffd"), (b"\xe4\xbd\xa0\x80", "你\ufffd")],
)  # fmt: skip
def test_each_stray_byte_is_one_sign(data: bytes, text: str) -> None:
    assert spelled(data) == text


def test_pieces_bytes_and_control_tokens_are_joined() -> None:
    pieces = [("▁a", False), ("<0xF0>", False), ("<0x9F>", False), ("<0x90>", False), ("<0xBC>", False), ("▁▁b", False)]
    assert join_pieces(pieces, strip=True) == "a🐼  b"
    assert join_pieces([("<0x41>", True), ("▁", False)], strip=False) == "<0x41> "
