"""From what a model says to the category that is meant: case, articles, plurals and known synonyms are forgiven."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

_IRREGULAR = {"people": "person", "men": "man", "women": "woman", "children": "child", "mice": "mouse"}
_ENDINGS = (("ies", "y"), ("ves", "fe"), ("ves", "f"), ("es", ""), ("s", ""))
_ARTICLES = ("a ", "an ", "the ", "some ")


class NameMatcher:
    """Finds the category's name for a phrase; the category's own spelling wins over every rule."""

    def __init__(self, names: Iterable[str], synonyms: Mapping[str, Iterable[str]] | None = None) -> None:
        self._names: dict[str, str] = {}
        given = tuple(names)
        self._exact = frozenset(given)
        for name in given:
            self._names.setdefault(_plain(name), name)
        for name in given:
            for other in (synonyms or {}).get(name, ()):
                self._names.setdefault(_plain(other), name)
        for known, name in list(self._names.items()):
            for singular in _singulars(known):  # "skis" is asked for as "ski" too
                self._names.setdefault(singular, name)

    def __call__(self, phrase: str) -> str | None:
        """The category's name, or None when no category is meant."""
        if phrase in self._exact:
            return phrase
        plain = _plain(phrase)
        for candidate in (plain, *_singulars(plain)):
            if candidate in self._names:
                return self._names[candidate]
        return None


def packaged_synonyms() -> dict[str, list[str]]:
    """Other words for the categories that training teaches; empty in an installation without the training part."""
    import yaml

    try:
        text = files("chiasm.train").joinpath("language", "names.yaml").read_text(encoding="utf-8")
    except (OSError, ModuleNotFoundError):
        return {}
    same: Any = yaml.safe_load(text).get("same", {})
    return {str(name): [str(other) for other in others] for name, others in same.items()}


def _plain(phrase: str) -> str:
    words = " ".join(phrase.casefold().split()).strip(" .,;:!?\"'")
    for article in _ARTICLES:
        words = words.removeprefix(article)
    return words


def _singulars(words: str) -> list[str]:
    """What the last word may be the plural of."""
    head, space, last = words.rpartition(" ")
    singles = [_IRREGULAR[last]] if last in _IRREGULAR else []
    for end, single in _ENDINGS:
        if last.endswith(end) and len(last) > len(end) + 1:
            singles.append(last.removesuffix(end) + single)
    return [f"{head}{space}{single}" for single in singles]
