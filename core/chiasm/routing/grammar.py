"""The grammar of an answer: text with `<ref>phrase</ref>` followed by routing tokens, each with its slots behind it.

What may come next is decided here, while an answer grows, and what it meant is read here, when it is complete.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from ..text import Tokenizer
from .rows import Rows
from .sequence import Markers


@dataclass
class AnswerState:
    """Where one growing answer stands. `tasks` are those whose tokens may be emitted, `routes_left` how many more."""

    rows: Rows
    markers: Markers
    tasks: Collection[str]
    routes_left: int
    in_phrase: bool = False
    in_box: bool = False  # of a box that is written as text
    phrase: list[int] = field(default_factory=list)  # ids of the phrase that is open, or was last
    routed: set[tuple[int, ...]] = field(default_factory=set)  # phrases that went to a task
    routable: set[str] = field(default_factory=set)  # tasks that may still be routed for the phrase just closed
    pending: list[int] = field(default_factory=list)  # slot ids that must be fed next

    def feed(self, token: int) -> None:
        """Take in the next id, emitted or forced."""
        if self.pending:
            self.pending.pop(0)
            return
        task = self.rows.task_of(token)
        if task is not None:
            self.pending = self.rows.slot_ids(task)
            self.routable.discard(task)
            self.routed.add(tuple(self.phrase))
            self.routes_left -= 1
        elif token == self.markers.ref:
            self.in_phrase, self.phrase, self.routable = True, [], set()
        elif token == self.markers.unref:
            self.in_phrase, self.routable = False, set(self.tasks)
        elif token in (self.markers.box, self.markers.unbox):
            self.in_box, self.routable = token == self.markers.box, set()
        else:
            if self.in_phrase:
                self.phrase.append(token)
            self.routable = set()

    def allowed(self) -> Iterator[int]:
        """The control and routing tokens that are legal now; every other one is not. Plain text always is."""
        if self.in_phrase:
            if self.phrase:
                yield self.markers.unref
            return
        if self.in_box and self.markers.unbox is not None:
            yield self.markers.unbox
            return
        yield self.markers.end
        if self.markers.box is not None:
            yield self.markers.box
        if self.routes_left > 0:
            yield self.markers.ref
            yield from (self.rows.token_id(task) for task in self.routable)


    def repeating(self) -> list[int]:
        """The tokens that would complete, in the open phrase, one that was routed before."""
        if not self.in_phrase:
            return []
        return [said[-1] for said in self.routed if said[:-1] == tuple(self.phrase)]


@dataclass(frozen=True)
class Heard:
    """One routing token of an answer."""

    task: str
    phrase: str
    span: tuple[int, int]  # of the phrase in the text, characters
    first_slot: int  # index of its first slot among the answer's ids


@dataclass(frozen=True)
class Written:
    """What stands between `<box>` and `</box>`, and the phrase in front of it."""

    text: str
    phrase: str
    span: tuple[int, int] | None  # of the phrase in the answer's text; None if there is none


@dataclass
class _Reading:
    """An answer while it is read, id by id."""

    tokenizer: Tokenizer
    rows: Rows
    markers: Markers
    text: str = ""
    phrase: str = ""
    span: tuple[int, int] | None = None
    opened: int | None = None  # where the open phrase begins in the text
    boxed: bool = False  # between <box> and </box>
    plain: list[int] = field(default_factory=list)
    heard: dict[tuple[str, str], Heard] = field(default_factory=dict)  # by task and phrase: once is enough
    written: list[Written] = field(default_factory=list)

    def take(self, index: int, token: int) -> None:
        known = (self.markers.ref, self.markers.unref, self.markers.end, self.markers.box, self.markers.unbox)
        if token < self.rows.base and token not in known:
            self.plain.append(token)
            return
        self.flush(token == self.markers.unbox)
        task = self.rows.task_of(token)
        if token == self.markers.ref:
            self.opened = len(self.text)
        elif token == self.markers.unref and self.opened is not None:
            self.phrase, self.span, self.opened = self.text[self.opened :], (self.opened, len(self.text)), None
        elif token == self.markers.box:
            self.boxed = True
        elif task is not None:
            span = self.span or (0, 0)
            self.heard.setdefault((task, self.phrase), Heard(task, self.phrase, span, index + 1))

    def flush(self, box_ends: bool = False) -> None:
        """Enter the words read so far: into the text, or as what was written in a box that ends."""
        said, self.plain = self.tokenizer.decode(self.plain), []
        if self.boxed and box_ends:
            self.written.append(Written(said, self.phrase, self.span))
        else:
            self.text += said
        self.boxed = False


def _read(ids: Sequence[int], tokenizer: Tokenizer, rows: Rows, markers: Markers) -> _Reading:
    reading = _Reading(tokenizer, rows, markers)
    for index, token in enumerate(ids):
        reading.take(index, token)
    reading.flush()
    return reading


def read_answer(ids: Sequence[int], tokenizer: Tokenizer, rows: Rows, markers: Markers) -> tuple[str, list[Heard]]:
    """An answer's text without control tokens, and what it routed, in order; a phrase goes to a task once."""
    reading = _read(ids, tokenizer, rows, markers)
    return reading.text, [*reading.heard.values()]


def read_boxes(ids: Sequence[int], tokenizer: Tokenizer, rows: Rows, markers: Markers) -> list[Written]:
    """What an answer wrote in boxes, in order; none of it is in the answer's text."""
    return _read(ids, tokenizer, rows, markers).written
