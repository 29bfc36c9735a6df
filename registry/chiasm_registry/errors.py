"""The errors of the platform: one family, so that a caller needs one `except`.

A message is one line that names the thing, the fact and the cure. It never repeats a library's own message
(these can hold object addresses) and never holds more of the caller's input than `shown` lets through.
"""


class ChiasmError(Exception):
    """What chiasm raises on purpose; its message is one line, meant for a person."""


class InputError(ChiasmError):
    """An image, a prompt, a file or an argument that the caller gave is not usable."""


class CheckpointError(ChiasmError):
    """A model folder or a task's file is missing, damaged, foreign or of another version."""


class PluginError(ChiasmError):
    """A task or its plugin broke the contract of `chiasm_registry`."""


class TrainingError(ChiasmError):
    """A training run stopped, and the message says why: data, a loss that is not finite, a resume that does not fit."""


def shown(value: object, limit: int = 80) -> str:
    """`value` as it may stand in a message: on one line, control characters escaped, cut to `limit` characters."""
    text = _printable(str(value)[: 4 * limit])
    return text if len(text) <= limit else text[: limit - 1] + "…"


def shown_path(path: object, limit: int = 80) -> str:
    """`path` as `shown` has it, but cut at its front: the file's name stands at the end."""
    text = _printable(str(path)[-4 * limit :])
    return text if len(text) <= limit else "…" + text[1 - limit :]


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
