"""The grammar of an answer: text with `<ref>phrase</ref>` followed by routing tokens, each with its slots behind it.

What may come next is decided here, while an answer grows; what it means is read in `reading.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from .echo import Echo
from .rows import Rows
from .sequence import Markers

ROUNDS = 5  # of the same few ids, and a phrase is closed


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
    echo: Echo = field(default_factory=Echo)  # what phrases may be, in an answer that says words back

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
            self.echo.take(self.phrase)
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

    def resuming(self) -> list[int]:
        """The tokens with which the phrase just opened would begin like a longer one that was routed before."""
        if not self.in_phrase or self.phrase:
            return []
        return sorted({said[0] for said in self.routed if len(said) > 1})

    def circling(self) -> bool:
        """Whether the open phrase ends in the same one to three ids, `ROUNDS` times: nobody calls a thing so."""
        lengths = range(1, min(3, len(self.phrase) // ROUNDS) + 1) if self.in_phrase else ()
        return any(self.phrase[-ROUNDS * n :] == self.phrase[-n:] * ROUNDS for n in lengths)
