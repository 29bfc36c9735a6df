"""The free road: a conversation's next question in, the model speaks, what it routes is dispatched, a `Result` out."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from chiasm_registry import ChiasmError, Output
from chiasm_registry.outputs import Notice

from .answer import Answer, answered, decoded
from .options import Asking
from .requests import Clock, Request
from .result import Result
from .routes import heard_routes, unwanted, wanted
from .routing.generate import Answers, Speaker, speak_free
from .routing.reading import Heard
from .scene import Look, look_at
from .thread import Thread, speaker_of
from .written import with_written

if TYPE_CHECKING:
    from .model import Model

_END = object()


@torch.inference_mode()
def answer_all(
    model: Model, threads: Sequence[Thread], requests: Sequence[Request], how: Asking, *, keep: bool
) -> list[Result]:
    """One turn of each conversation, spoken as a batch. With `keep` each remembers its turn, or an error none."""
    clock = Clock()
    with clock("see"):
        looks = _looks(model, requests)
    with clock("speak"):
        speakers = [speaker_of(model, *row, how) for row in zip(threads, requests, looks, strict=True)]
        spoken = speak_free(model.voice, speakers, how.sampling, keep=keep)
    shared = {name: seconds / len(requests) for name, seconds in clock.seconds.items()}
    results = []
    for thread, answer, own in zip(threads, spoken, looks, strict=True):
        clock = Clock()
        clock.seconds.update(shared)
        look, asked = thread.look(own), how.asked
        heard = wanted(model.table, answer.heard, asked, look is not None)
        routes = heard_routes(model.network, answer, heard, asked)
        beside = unwanted(model.table, answer.heard, asked, look is not None)
        result = answered(model, look, answer, routes, asked, clock, notices=beside)
        results.append(with_written(result, answer.written, asked.max_objects))
    if keep:
        for row in zip(threads, speakers, looks, requests, results, strict=True):
            thread, speaker, own, request, result = row
            thread.take(speaker, own, request.prompt, result)
    return results


class Stream:
    """An answer while it is said: `str` pieces of its text, and each `Output` as soon as its slots are known.

    The pieces put together are the result's text. `result` is the whole answer, and says the rest first if need be;
    `close` stops: what was said until then is the answer.
    """

    def __init__(self, model: Model, thread: Thread, request: Request, how: Asking) -> None:
        self._model, self._thread, self._request, self._how = model, thread, request, how
        self._known: dict[int, Answer] = {}  # by place among the routes
        self._company: dict[int, int] = {}  # for each of them how many routes of its `after` tasks there were
        self._notices: list[Notice] = []
        self._clock = Clock()
        self._result: Result | None = None
        self._events = self._said()

    def __iter__(self) -> Iterator[str | Output]:
        return self

    def __next__(self) -> str | Output:
        return next(self._events)

    def close(self) -> None:
        """Stop here; the conversation remembers what was said."""
        self._events.close()

    @property
    def result(self) -> Result:
        """The whole answer."""
        for _ in self._events:
            pass
        if self._result is None:
            raise ChiasmError("the answer was stopped before it began; ask again")
        return self._result

    @torch.inference_mode()
    def _said(self) -> Generator[str | Output, None, None]:
        model, clock = self._model, self._clock
        with clock("see"):
            (looks,) = _looks(model, [self._request])
        with clock("speak"):
            speaker = speaker_of(model, self._thread, self._request, looks, self._how)
            answers = Answers(model.voice, [speaker], self._how.sampling)
        steps, going = answers.steps(), True
        try:
            while going:
                with clock("speak"):
                    going = next(steps, _END) is not _END
                if piece := answers.readers[0].take():
                    yield piece
                yield from self._shown(answers, looks)
        except (GeneratorExit, KeyboardInterrupt):  # nobody listens any more: what was said was said
            answers.readers[0].finish()
            self._settle(answers, speaker, looks, whole=False)
            raise
        text = answers.readers[0].text
        result = self._settle(answers, speaker, looks, whole=True)
        if result and (rest := result.text[len(text) :]):
            yield rest

    def _shown(self, answers: Answers, looks: Sequence[Look]) -> Iterator[Output]:
        """The outputs of routes whose slots are all known, and for which no earlier task can be named any more."""
        heard, state = self._wanted(answers.readers[0].heard, looks), answers.states[0]
        if len(heard) == len(self._known) or not answers.complete(0):
            return
        open_to = state.routable  # tasks that the last phrase may still go to
        ready = [
            place
            for place, one in enumerate(heard)
            if place not in self._known and not (one.phrase == heard[-1].phrase and open_to & self._after(one))
        ]
        if not ready:
            return
        places = sorted([*self._known, *ready])
        routes = heard_routes(self._model.network, answers.spoken(0), heard, self._how.asked)
        known = {k: self._known[place] for k, place in enumerate(places) if place in self._known}
        look = self._thread.look(looks)
        with self._clock("decode"):
            found = decoded(self._model, look, [routes[place] for place in places], self._notices, known)
        for place in ready:
            self._known[place] = answer = found[places.index(place)]
            self._company[place] = self._earlier(heard, place)
            if isinstance(answer, Output):
                yield answer

    def _wanted(self, heard: Sequence[Heard], looks: Sequence[Look]) -> list[Heard]:
        return wanted(self._model.table, heard, self._how.asked, self._thread.look(looks) is not None)

    def _after(self, one: Heard) -> frozenset[str]:
        return frozenset(self._model.table.by_name(one.task).spec.after)

    def _earlier(self, heard: Sequence[Heard], place: int) -> int:
        """How many routes there are by now whose outputs the one at `place` is given."""
        mine = heard[place]
        return sum(one.task in self._after(mine) and one.phrase == mine.phrase for one in heard)

    def _settle(self, answers: Answers, speaker: Speaker, looks: Sequence[Look], *, whole: bool) -> Result | None:
        """The answer, as far as it was said, becomes a turn of the conversation."""
        if not answers.keep():
            return None
        spoken, known, look = answers.spoken(0), self._known, self._thread.look(looks)
        heard = self._wanted(spoken.heard, looks)
        routes = heard_routes(self._model.network, spoken, heard, self._how.asked)
        if whole:  # what had to be shown before an earlier task of its phrase was named is shown again
            known = {k: a for k, a in known.items() if self._company[k] == self._earlier(heard, k)}
        else:
            places = sorted(known)
            routes, known = [routes[k] for k in places], {n: known[k] for n, k in enumerate(places)}
        how = self._how
        told = [*self._notices, *unwanted(self._model.table, spoken.heard, how.asked, look is not None)]
        result = answered(self._model, look, spoken, routes, how.asked, self._clock, known=known, notices=told)
        self._result = with_written(result, spoken.written, how.asked.max_objects)
        self._thread.take(speaker, looks, self._request.prompt, self._result)
        return self._result


def _looks(model: Model, requests: Sequence[Request]) -> list[list[Look]]:
    """Each request's images as the model sees them; all are seen together."""
    rest = iter(look_at(model.network, [image for request in requests for image in request.images]))
    return [[next(rest) for _ in request.images] for request in requests]
