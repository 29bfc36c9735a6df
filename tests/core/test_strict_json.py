"""Every JSON file is read to the letter by one reader; a fault is one line of the caller's error, with its place."""

from __future__ import annotations

import pytest
from chiasm.strict_json import parse_json, parse_object
from chiasm_registry.errors import CheckpointError, InputError

FAULTS = (
    (b"", "a.json:1:1: empty"),
    (b"\xef\xbb\xbf{}", "a.json:1:1: .*byte order mark"),
    (b'{"a":\n "\xff"}', "a.json:2:3: not UTF-8"),
    (b'{"a":\n 1', "a.json:2:3: not JSON"),
    (b'{"a": 1} 2', "a.json:1:10: not JSON"),
    (b'{"a":\n\n NaN}', "a.json:3:2: NaN is not JSON"),
    (b'{"a": "NaN",\n "b": -Infinity}', "a.json:2:7: -Infinity is not JSON"),
    (b'{"a": 1e999}', "a.json:1:7: 1e999 is too large"),
    (b'{"a": %s}' % (b"1" * 5000), "a.json:1:7: a whole number of 5,000 characters"),
    (b'{"a": {"b": 1, "b": 2}}', "a.json: the key 'b' stands twice"),
    (b'{"a": "\\ud800"}', "a.json: text with half a character"),
    (b"[" * 100_000, "a.json: nested 100,000 deep"),
)


@pytest.mark.parametrize(("data", "says"), FAULTS)
@pytest.mark.parametrize("error", [InputError, CheckpointError])
def test_a_fault_is_one_line_with_its_place(data: bytes, says: str, error: type[InputError]) -> None:
    with pytest.raises(error, match=f"^{says}") as caught:
        parse_json(data, "a.json", error=error)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 200


def test_what_the_standard_allows_is_read() -> None:
    text = '{"brackets": "[[[{", "escape": "\\"]", "pair": "\\ud83d\\ude00", "deep": [[1, -2.5e3, null, true]]}'
    assert parse_object(text.encode(), "a.json") == {
        "brackets": "[[[{",
        "escape": '"]',
        "pair": "\N{GRINNING FACE}",
        "deep": [[1, -2500.0, None, True]],
    }
    assert parse_json(bytearray(b" [1]\n"), "a.json") == [1]


@pytest.mark.parametrize("data", [b"[]", b'"text"', b"3", b"null"])
def test_a_file_of_one_object_holds_one(data: bytes) -> None:
    with pytest.raises(CheckpointError, match="must hold a JSON object"):
        parse_object(data, "a.json", error=CheckpointError)
