"""What installed distributions say about their plugins, read from their metadata; imports none of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import Distribution, distributions

from .errors import shown
from .hooks import PROJECT
from .requirements import Grievance, grievance

_VALUE = re.compile(r"\s*(?P<module>\w+(\.\w+)*)\s*(:\s*(?P<attribute>\w+(\.\w+)*)\s*)?(\[.*\])?\s*")


@dataclass(frozen=True)
class Claim:
    """One plugin as its distribution or its path declares it.

    `fault` says why it cannot be followed, `status` is what it has for that; `path` is that of a one-file plugin.
    """

    name: str
    module: str
    attribute: str
    distribution: str
    version: str
    fault: str = ""
    status: str = "failed"
    path: str = ""


def read_claims(group: str) -> list[Claim]:
    """Every entry point of `group`, sorted; of a distribution that is installed twice the first on the path counts."""
    seen: dict[str, list[Claim]] = {}
    for distribution in distributions():
        claims = _claims(distribution, group)
        if claims:
            seen.setdefault(canonical(claims[0].distribution), claims)
    return sorted((claim for claims in seen.values() for claim in claims), key=lambda c: (c.name, c.distribution))


def canonical(distribution: str) -> str:
    """A distribution's name as package indices compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _claims(distribution: Distribution, group: str) -> list[Claim]:
    try:
        text = distribution.read_text("entry_points.txt") or ""
    except (OSError, UnicodeDecodeError):
        text = group  # unreadable: it may be a plugin, so it is named
    if group not in text:
        return []
    name, version = _name_and_version(distribution)
    try:
        entries = list(distribution.entry_points.select(group=group))
    except Exception:
        return [Claim(name, "", "", name, version, "its entry_points.txt cannot be read; reinstall it")]
    claims = list(_read(((entry.name, entry.value) for entry in entries), name, version))
    if canonical(name) == PROJECT:
        return claims
    found = _grievance(distribution)
    return [replace(claim, status=found[0], fault=found[1]) for claim in claims] if found else claims


def _grievance(distribution: Distribution) -> Grievance | None:
    try:
        return grievance(distribution)
    except Exception:
        return "failed", "its metadata cannot be read; reinstall it"


def _read(entries: Iterator[tuple[str, str]], distribution: str, version: str) -> Iterator[Claim]:
    for name, value in entries:
        match = _VALUE.fullmatch(value)
        if match:
            attribute = match["attribute"] or ""
            yield Claim(shown(name), match["module"], attribute, distribution, version)
        else:
            fault = f"its entry point {shown(repr(value), 60)} names no module; write 'package.module'"
            yield Claim(shown(name), "", "", distribution, version, fault)


def _name_and_version(distribution: Distribution) -> tuple[str, str]:
    try:
        metadata = distribution.metadata
        return shown(metadata["Name"] or "unknown"), shown(metadata["Version"] or "")
    except Exception:
        return "unknown", ""
