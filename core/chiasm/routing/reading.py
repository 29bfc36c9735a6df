"""What an answer says, read as it grows: text without control tokens, and what was routed.

A whole answer is read by the same reader, so that what was streamed is what it says in the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..text import Tokenizer
from .rows import Rows
from .sequence import Markers

_CUT = "\ufffd"  # what a tokenizer writes for a character whose bytes are not all there


@dataclass(frozen=True)
class Heard:
    """One routing token of an answer."""

    task: str
    phrase: str
    span: tuple[int, int] | None  # of the phrase in the text, characters; None: a stop string took it out
    first_slot: int  # index of its first slot among the answer's ids


@dataclass(frozen=True)
class Written:
    """What stands between `<box>` and `</box>`, and the phrase in front of it; it is no part of the text."""

    text: str
    phrase: str
    span: tuple[int, int] | None  # of the phrase in the answer's text; None if there is none


class Reader:
    """Takes an answer's ids one by one; `text` and `heard` are what they say so far."""

    def __init__(self, tokenizer: Tokenizer, rows: Rows, markers: Markers, stop_strings: Sequence[str] = ()) -> None:
        self.tokenizer, self.rows, self.markers, self.stop_strings = tokenizer, rows, markers, stop_strings
        self.text = ""
        self.stopped = False  # by a stop string, which the text ends in front of
        self.finished = False
        self.written: list[Written] = []
        self._heard: dict[tuple[str, str], Heard] = {}  # by task and phrase: said again, it means the same things
        self._count = 0  # of ids
        self._given = 0  # characters that were taken
        self._run: list[int] = []  # plain ids since the last control token
        self._spelled = 0  # characters of the run that are in the text
        self._opened: int | None = None
        self._phrase = ""
        self._span: tuple[int, int] | None = None
        self._boxed = False  # between <box> and </box>

    @property
    def heard(self) -> list[Heard]:
        """What was routed, in order; a phrase goes to a task once."""
        end = len(self.text)
        return [replace(h, span=None) if h.span and h.span[1] > end else h for h in self._heard.values()]

    def read(self, token: int) -> None:
        """Take in the next id."""
        index, self._count = self._count, self._count + 1
        markers = self.markers
        known = (markers.ref, markers.unref, markers.end, markers.box, markers.unbox)
        if token < self.rows.base and token not in known:
            self._run.append(token)
            self._spell(whole=False)
            return
        if self._boxed and token == markers.unbox:
            self.written.append(Written(self.tokenizer.decode(self._run), self._phrase, self._span))
            self._run = []
        self._boxed = self._boxed and token == markers.unbox  # a box that is not finished stays in the text
        self._spell(whole=True)
        self._boxed = token == markers.box
        task = self.rows.task_of(token)
        if token == markers.ref:
            self._opened = len(self.text)
        elif token == markers.unref and self._opened is not None:
            self._phrase, self._span = self.text[self._opened :], (self._opened, len(self.text))
            self._opened = None
        elif task is not None:
            span = self._span or (0, 0)
            self._heard.setdefault((task, self._phrase), Heard(task, self._phrase, span, index + 1))

    def finish(self) -> None:
        """Nothing follows: a cut character stays cut, and what looked like the start of a stop string was none."""
        self._boxed = False
        self._spell(whole=True)
        self.finished = True

    def take(self) -> str:
        """The text since the last call that no further id can take back; often nothing."""
        held = 0
        if not (self.stopped or self.finished):
            held = max((_overlap(self.text, stop) for stop in self.stop_strings), default=0)
        piece = self.text[self._given : len(self.text) - held]
        self._given += len(piece)
        return piece

    def _spell(self, *, whole: bool) -> None:
        """More of the run into the text: all of it, or what does not depend on ids to come."""
        if self.stopped or self._boxed:
            return
        spelled = self.tokenizer.decode(self._run) if self._run else ""
        certain = spelled if whole else spelled.rstrip(_CUT)
        before, self.text = len(self.text), self.text + certain[self._spelled :]
        self._spelled = 0 if whole else max(self._spelled, len(certain))
        if whole:
            self._run = []
        self._stop(before)

    def _stop(self, before: int) -> None:
        """End the text in front of the first stop string that its new part completes."""
        found = [
            place for stop in self.stop_strings if (place := self.text.find(stop, max(0, before - len(stop) + 1))) >= 0
        ]
        if found:
            self.text, self.stopped = self.text[: min(found)], True


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of `text` may be the beginning of `stop`."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)


def read_whole(
    ids: Sequence[int], tokenizer: Tokenizer, rows: Rows, markers: Markers, stop_strings: Sequence[str] = ()
) -> Reader:
    """A whole answer, read."""
    reader = Reader(tokenizer, rows, markers, stop_strings)
    for token in ids:
        reader.read(token)
    reader.finish()
    return reader


def read_answer(
    ids: Sequence[int], tokenizer: Tokenizer, rows: Rows, markers: Markers, stop_strings: Sequence[str] = ()
) -> tuple[str, list[Heard]]:
    """A whole answer's text without control tokens, and what it routed, in order."""
    reader = read_whole(ids, tokenizer, rows, markers, stop_strings)
    return reader.text, reader.heard
