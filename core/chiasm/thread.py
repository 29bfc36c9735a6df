"""One conversation: what was said and shown so far, and what a new question adds to it, as ids."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import torch
from chiasm_registry import InputError

from .options import Asking
from .requests import Request
from .result import Result
from .routes import sayable
from .routing.generate import Speaker
from .routing.memory import Memory
from .scene import Look
from .text import Placed, Turn, build_prompt, build_turn, place_images
from .text.placed import PLACE

if TYPE_CHECKING:
    from .model import Model


BUSY = "this session is answering in another thread; wait for it, or fork() it before"


class Closes(Protocol):
    """What is being said, and can be ended where it is."""

    def close(self) -> None: ...


@dataclass(eq=False)
class Thread:
    """One conversation: what the language model remembers, the images shown last, and what was said in words."""

    system: str | None = None  # None is the template's own
    before: tuple[Turn, ...] = ()  # questions with answers from elsewhere
    before_looks: tuple[Look, ...] = ()  # the images in them
    memory: Memory = field(default_factory=Memory)
    looks: tuple[Look, ...] = ()
    turns: list[tuple[str, Result]] = field(default_factory=list)
    stream: Closes | None = None  # an answer that may still be being said
    busy: threading.Lock = field(default_factory=threading.Lock)  # held while a question is answered

    def fork(self) -> Thread:
        """The same past with a future of its own."""
        free = threading.Lock()
        return replace(self, memory=self.memory.fork(), turns=list(self.turns), stream=None, busy=free)

    def rest(self) -> None:
        """An answer that is still being said ends where it is."""
        if self.stream is not None:
            try:
                self.stream.close()
            except ValueError:  # a generator's word for it
                raise InputError(BUSY) from None
            self.stream = None

    def take(self, speaker: Speaker, looks: Sequence[Look], question: str, result: Result) -> None:
        """One more turn; until here nothing of the conversation has changed."""
        self.memory, self.looks = speaker.memory, tuple(looks) or self.looks
        self.turns.append((question, result))

    def said(self) -> Iterator[str]:
        """All that was asked and answered in words, the newest first."""
        for question, result in reversed(self.turns):
            yield from (result.text, question)
        for asked, answer in reversed(self.before):
            yield from (answer or "", asked.words if isinstance(asked, Placed) else asked)

    def look(self, looks: Sequence[Look]) -> Look | None:
        """What decoders look at: the first of this turn's images, else of those that were shown last."""
        return next(iter(looks or self.looks), None)


def speaker_of(model: Model, thread: Thread, request: Request, looks: Sequence[Look], how: Asking) -> Speaker:
    """What is new to the conversation, as ids; its memory is a fork, so that a turn happens as a whole."""
    memory, counts = thread.memory.fork(), [len(look.tokens) for look in looks]
    most, chars = model.network.backbone.positions, model.limits.prompt_chars
    question, loose = placed(request.prompt, counts)
    words, layout, begun = model.tokenizer, model.template, bool(memory.ids)
    if begun or thread.before:
        ids = [*memory.unfed]
        if not begun:
            looks = [*thread.before_looks, *looks]
            ids += build_prompt(words, layout, thread.before, (), system=thread.system, max_chars=chars).ids
        ids += build_turn(words, layout, question, loose, close=begun, max_chars=chars).ids
        if memory.position + len(ids) > most:
            total = memory.position + len(ids)
            raise InputError(f"the conversation has {total:,} tokens with this question; the model takes {most:,}")
    else:
        turns = [(question, None)]
        prompt = build_prompt(words, layout, turns, loose, system=thread.system, max_chars=chars, max_tokens=most)
        ids = [*prompt.ids]
    tokens = torch.cat([look.tokens for look in looks]) if looks else None
    tasks = sayable(model.table, model.network, how.tasks, model.untrained)
    return Speaker(memory, ids, tokens, tasks, [look.places for look in looks], (request.prompt, *thread.said()))


def placed(question: str, counts: Sequence[int]) -> tuple[str | Placed, Sequence[int]]:
    """The question with its images where it says `<image>`, and those that stand in front as it says so nowhere."""
    if counts and PLACE in question:
        return place_images(question, counts), ()
    return question, counts


@contextmanager
def alone(threads: Sequence[Thread]) -> Iterator[None]:
    """One caller at a time for each conversation; a second one is told, and not made to wait."""
    with ExitStack() as held:
        for thread in threads:
            if not thread.busy.acquire(blocking=False):
                raise InputError(BUSY)
            held.callback(thread.busy.release)
        yield


def told_before(history: Sequence[tuple[str, str]], counts: Sequence[int]) -> tuple[tuple[Turn, ...], slice]:
    """Turns from elsewhere with their images where they say `<image>`; with no such place, in front of the first.

    And which of the images are those that were shown last.
    """
    places = [question.count(PLACE) for question, _ in history]
    if counts and sum(places) not in (0, len(counts)):
        raise InputError(f"{len(counts)} images, but the history has {sum(places)} times '{PLACE}'; write it for each")
    rest, turns, last = list(counts), [], slice(0)
    for (question, answer), count in zip(history, places, strict=True):
        taken = len(rest) if rest and not any(places) else min(count, len(rest))
        if taken:
            last = slice(len(counts) - len(rest), len(counts) - len(rest) + taken)
        own, rest = rest[:taken], rest[taken:]
        turns.append((place_images(question, own) if own else question, answer))
    return tuple(turns), last
