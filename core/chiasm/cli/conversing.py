"""What each line of `chiasm chat` does: a question is asked and its answer streamed, a command begins with a slash."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from chiasm_registry.errors import InputError, shown, shown_path

from .errors import complain
from .predict import each_once
from .report import found_lines

if TYPE_CHECKING:
    from chiasm.model import Model
    from chiasm.result import Result

HELP = """\
anything            is asked; what is found stands below the answer
/image FILE...      the next question is about these pictures, too
/find NAMES         look for 'cat, red cup' in the pictures shown last; no part of the conversation
/save FILE          the last answer: a picture (.png .jpg .webp), all of it (.json), or the conversation (.txt)
/history            what was said so far
/new                begin again, with the same pictures
/help               this
/quit               leave; so does Ctrl-D. Ctrl-C stops an answer and keeps the conversation"""
_TEXTS = (".txt", ".md")


class Conversing:
    """A session with the pictures it is about; `take` does one line, and is False when it was the last."""

    def __init__(
        self,
        model: Model,
        images: Sequence[str],
        system: str | None,
        options: Mapping[str, Any],
        *,
        alone: bool = False,
    ) -> None:
        self._model, self._system, self._options, self._alone = model, system, options, alone
        self._session = model.chat(system=system)
        self._said: list[tuple[str, str]] = []
        self._shown: list[str] = []  # pictures of the last question that had some
        self._next: list[str] = []  # pictures for the next question
        self._seen: list[str] = []  # every picture so far
        self._last: Result | None = None
        self._add(images)

    def take(self, line: str) -> bool:
        """A question or a command."""
        if not line.startswith("/"):
            self._ask(line)
            return True
        name, _, rest = line[1:].partition(" ")
        if name in ("quit", "exit"):
            return False
        commands: dict[str, Callable[[str], None]] = {
            "image": self._image,
            "find": self._find,
            "save": self._save,
            "history": lambda _: typer.echo(_transcript(self._said) or "nothing was said yet"),
            "new": lambda _: self._begin_again(),
            "help": lambda _: typer.echo(HELP),
        }
        if name not in commands:
            raise InputError(f"no command /{shown(name, 40)}; /help lists them")
        commands[name](rest.strip())
        return True

    def _ask(self, text: str) -> None:
        """Stream one answer; an interrupt ends it, and the conversation goes on behind what was said."""
        before = len(self._session.turns)
        if self._alone:  # about the pictures shown last, and as if nothing had been said
            self._session, before = self._model.chat(system=self._system), 0
            self._next = self._next or self._shown
        images = tuple(self._next) or None
        stream = self._session.ask(text, images, stream=True, **self._options)
        try:
            for event in stream:
                if isinstance(event, str):
                    typer.echo(_spelled(event), nl=False)
            typer.echo("")
        except KeyboardInterrupt:
            stream.close()  # it may have been between two of its steps
            typer.echo("")
            complain("stopped; the conversation goes on")
        if len(self._session.turns) == before:  # stopped before the question was heard
            return
        self._shown, self._next = self._next or self._shown, []
        self._last = stream.result
        self._said.append((text, self._last.text))
        for line in found_lines(self._last):
            typer.echo(line)
        if self._last.pictures:
            typer.echo("  a picture was made; /save FILE.png keeps it")

    def _image(self, text: str) -> None:
        if not text:
            raise InputError("/image wants files: /image street.jpg")
        self._add(_words(text))

    def _add(self, images: Sequence[str]) -> None:
        from chiasm.images import open_image

        for image in images:
            open_image(image)  # refused now, and not with the question
        self._next += images
        self._seen += images

    def _find(self, text: str) -> None:
        names = each_once(name.strip() for name in text.split(","))
        if not all(names):
            raise InputError("/find wants names: /find cat, red cup")
        images = self._next or self._shown
        if not images:
            raise InputError("no picture was shown yet; /image FILE shows one")
        results = self._model.detect(images, names, threshold=self._options.get("threshold"))
        for image, result in zip(images, results, strict=True):
            if len(images) > 1:
                typer.echo(shown_path(image, 200))
            for line in found_lines(result):
                typer.echo(line)
            self._last = result

    def _save(self, text: str) -> None:
        from chiasm.export import save_picture
        from chiasm.files import write_whole

        names = _words(text)
        if len(names) != 1:
            raise InputError("/save wants one file: /save answer.png")
        if self._last is None:
            raise InputError("there is no answer to save yet")
        path = Path(names[0])
        if os.path.realpath(path) in {os.path.realpath(image) for image in self._seen}:
            raise InputError(f"{shown_path(path)} is a picture that was shown; save under another name")
        if path.suffix.lower() in _TEXTS:
            write_whole(path, (_transcript(self._said) + "\n").encode())
        elif self._last.pictures and path.suffix.lower() != ".json":
            save_picture(self._last.pictures[0].image, path)
        else:
            self._last.save(path)
        typer.echo(shown_path(path, 200))

    def _begin_again(self) -> None:
        self._session = self._model.chat(system=self._system)
        self._next = self._next or self._shown
        self._said, self._shown, self._last = [], [], None


def _words(text: str) -> list[str]:
    """File names as a shell would read them."""
    try:
        return shlex.split(text)
    except ValueError:
        raise InputError("a quotation mark is not closed") from None


def _spelled(piece: str) -> str:
    """What a terminal may show: lines, and no control character that it would obey."""
    return "\n".join(shown(line, max(1, 10 * len(line))) for line in piece.split("\n"))  # "\U0001f98a" has ten


def _transcript(said: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"> {_spelled(question)}\n{_spelled(answer)}" for question, answer in said)
