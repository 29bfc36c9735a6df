"""A `tokenizer.json` of another design with the control tokens that chiasm's prompts are written in.

Its own tokens for images and phrases get our names and keep their ids; `<ref>` and `</ref>`, where it has none, take
rows of the embedding that no token stood for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chiasm_registry.errors import CheckpointError

NEEDED = ("<ref>", "</ref>")


def renamed_json(data: bytes, markers: Mapping[str, str], rows: int, where: str) -> str:
    """The text of the new `tokenizer.json`; `markers` are old names and ours, `rows` those of the embedding.

    Every added token becomes special, so that no user can type one. Raises `CheckpointError`.
    """
    try:
        whole = json.loads(data.decode("utf-8"))
        added: list[dict[str, Any]] = whole["added_tokens"]
        vocabulary: dict[str, int] = whole["model"]["vocab"]
        for token in added:
            token |= {"special": True, "normalized": False, "content": markers.get(token["content"], token["content"])}
        for old, new in markers.items():
            if old in vocabulary:
                vocabulary[new] = vocabulary.pop(old)
        names = {token["content"]: int(token["id"]) for token in added}
        free = 1 + max([*vocabulary.values(), *names.values()])
        for name in NEEDED:
            if name not in names:
                flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
                added.append({"id": free, "content": name, "special": True, **flags})
                free += 1
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(f"{where} is no tokenizer.json with added_tokens and a vocabulary by name") from None
    if free > rows:
        raise CheckpointError(
            f"{where} has {free} tokens with {' and '.join(NEEDED)}, the embedding {rows} rows; enlarge it first"
        )
    return json.dumps(whole, ensure_ascii=False)
