"""What a person may say about plugins without touching code: the one place where the environment is read for it.

CHIASM_PLUGINS_ONLY and CHIASM_PLUGINS_BLOCK hold names of plugins or distributions, separated by commas;
CHIASM_PLUGINS_FILES holds paths of one-file plugins, separated as in PATH; CHIASM_PLUGINS_STRICT and
CHIASM_PLUGINS_TRACE are switches (1 or 0). The command line's flags are these variables, set for its own process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

ONLY, BLOCK, FILES = "CHIASM_PLUGINS_ONLY", "CHIASM_PLUGINS_BLOCK", "CHIASM_PLUGINS_FILES"
STRICT, TRACE = "CHIASM_PLUGINS_STRICT", "CHIASM_PLUGINS_TRACE"
OFF = ("", "0", "no", "false", "off")


@dataclass(frozen=True)
class Settings:
    """As the environment says; `only` None means every plugin."""

    only: tuple[str, ...] | None = None
    block: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    strict: bool = False  # a plugin that is not ok is an error
    trace: bool = False  # what plugins do is told on stderr, with tracebacks

    @classmethod
    def read(cls) -> Settings:
        """What the environment says now."""
        return cls(
            only=_listed(ONLY, ","),
            block=_listed(BLOCK, ",") or (),
            files=_listed(FILES, os.pathsep) or (),
            strict=_switched(STRICT),
            trace=_switched(TRACE),
        )

    def variables(self) -> dict[str, str]:
        """The environment that says the same; what is not set here is left out."""
        texts = {
            ONLY: None if self.only is None else ",".join(self.only),
            BLOCK: ",".join(self.block) or None,
            FILES: os.pathsep.join(self.files) or None,
            STRICT: "1" if self.strict else None,
            TRACE: "1" if self.trace else None,
        }
        return {name: text for name, text in texts.items() if text is not None}


@contextmanager
def applied(settings: Settings) -> Iterator[None]:
    """The settings put over the environment's, for this process and its children, until the block ends."""
    before = {name: os.environ.get(name) for name in settings.variables()}
    os.environ.update(settings.variables())
    try:
        yield
    finally:
        for name, text in before.items():
            if text is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = text


def _listed(variable: str, separator: str) -> tuple[str, ...] | None:
    text = os.environ.get(variable)
    return None if text is None else tuple(word.strip() for word in text.split(separator) if word.strip())


def _switched(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() not in OFF
