"""Ways of asking, from a text file of `find:`, `find-or:` and `all:` lines; refuses lines of another form."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random

from chiasm_registry.errors import InputError, shown, shown_path

PACKAGED = Path(__file__).with_name("phrasings.txt")
SLOT = "{names}"
MAX_BYTES = 2**20


@dataclass(frozen=True)
class Phrasings:
    """Questions for names, each with how it joins them, and questions for everything."""

    find: tuple[tuple[str, str], ...]  # (kind, text with the slot)
    everything: tuple[str, ...]
    sha256: str

    def asking(self, names: tuple[str, ...], rng: Random) -> str:
        """A question for these names in one of the ways."""
        kind, text = rng.choice(self.find)
        return text.replace(SLOT, joined(names, "or" if kind == "find-or" else "and", rng))


def joined(names: tuple[str, ...], word: str, rng: Random) -> str:
    """Names as people list them: "a, b and c", now and then without the word or without commas."""
    if len(names) == 1:
        return names[0]
    style = rng.choice(("both", "both", "commas", "words")) if word == "and" else "both"
    if style == "commas":
        return ", ".join(names)
    if style == "words":
        return f" {word} ".join(names)
    return f"{', '.join(names[:-1])} {word} {names[-1]}"


def read_phrasings(path: Path | None = None) -> Phrasings:
    """The packaged phrasings, or those of a file; an InputError names the line that has another form."""
    path = path or PACKAGED
    name = shown_path(path, 60)
    try:
        if path.stat().st_size > MAX_BYTES or not path.is_file():
            raise InputError(f"{name}: not a text file of at most {MAX_BYTES} bytes")
        data = path.read_bytes()
        lines = data.decode("utf-8").splitlines()
    except (OSError, ValueError):
        raise InputError(f"{name}: no such file, or not text in UTF-8; check the path") from None
    found: dict[str, list[str]] = {"find": [], "find-or": [], "all": []}
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            kind, text = _line(line, f"{name}:{number}")
            found[kind].append(text)
    find = tuple((kind, text) for kind in ("find", "find-or") for text in found[kind])
    if not find or not found["all"]:
        raise InputError(f"{name}: needs at least one line of `find: ... {SLOT} ...` and one of `all: ...`")
    return Phrasings(find, tuple(found["all"]), sha256(data).hexdigest())


def _line(line: str, place: str) -> tuple[str, str]:
    kind, colon, text = line.partition(":")
    kind, text = kind.strip(), text.strip()
    if not colon or kind not in ("find", "find-or", "all") or not text:
        raise InputError(f"{place}: must begin with `find:`, `find-or:` or `all:`, not '{shown(line, 60)}'")
    if text.count(SLOT) != (kind != "all"):
        raise InputError(f"{place}: {kind} wants {SLOT} {'nowhere' if kind == 'all' else 'exactly once'}")
    return kind, text
