"""A conversation that keeps its cache, as people hold it. A list of questions or images makes it a batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from chiasm_registry import InputError

from .images import ImageSource, open_image
from .options import Asking, listed, told
from .requests import Request, requests_of
from .scene import look_at
from .speech import Stream, answer_all
from .text import Placed, check_text
from .thread import Thread, alone, told_before

if TYPE_CHECKING:
    from .model import Model


class Session:
    """Made by `Model.chat`. One conversation, or as many as the lists of its first question are long.

    Sessions of one model do not know of each other. One session answers one question at a time.
    """

    def __init__(self, model: Model, threads: Sequence[Thread], *, single: bool | None) -> None:
        self._model, self._threads, self._single = model, [*threads], single  # None: not asked yet

    def __repr__(self) -> str:
        many = "" if self._single is not False else f"conversations={len(self._threads)}, "
        return f"Session({many}turns={len(self._threads[0].turns) if self._threads else 0})"

    @classmethod
    @torch.inference_mode()
    def begin(
        cls, model: Model, system: str | None, history: Sequence[tuple[str, str]], images: Sequence[ImageSource]
    ) -> Session:
        """A session without a turn; see `Model.chat`."""
        most = model.limits.prompt_chars
        if system is not None:
            system = check_text(system, "the system message", max_chars=most)
            if model.template.system_open is None:
                raise InputError(f"the template '{model.template.name}' takes no system message; leave it out")
        before = []
        for k, turn in enumerate(listed(history, "history")):
            if not isinstance(turn, (tuple, list)) or len(turn) != 2:
                raise InputError(f"history[{k}] is {told(turn)}; it must be a question and its answer")
            question, answer = (check_text(text, f"history[{k}]", max_chars=most) for text in turn)
            before.append((question, answer))
        sources = listed(images, "images")
        if sources and not before:
            raise InputError("images of chat() are those of its history; show others with a question")
        if len(sources) > model.limits.images:
            raise InputError(f"{len(sources)} images are too many; a conversation takes {model.limits.images}")
        looks = tuple(look_at(model.network, [open_image(image, limits=model.limits) for image in sources]))
        turns, last = told_before(before, [len(look.tokens) for look in looks])
        for k, (asked, _) in enumerate(turns):
            if isinstance(asked, Placed):
                asked.check(f"history[{k}]", max_chars=most)
        return cls(model, [Thread(system, turns, looks, looks=looks[last])], single=None)

    @classmethod
    def together(cls, sessions: Sequence[Session]) -> Session:
        """Several conversations of one model, wherever each stands, to be asked as a batch; they stay what they are."""
        members = listed(sessions, "sessions")
        for k, one in enumerate(members):
            if not isinstance(one, Session) or one._single is False:
                raise InputError(f"sessions[{k}] must be a session of one conversation")
            if one._model is not members[0]._model:
                raise InputError(f"sessions[{k}] is of another model than sessions[0]")
        threads = [thread for one in members for thread in one._threads]
        if not threads or len(set(map(id, threads))) != len(threads):
            raise InputError("together() takes at least one session, and each once")
        with alone(threads):
            for thread in threads:
                thread.rest()
        return cls(members[0]._model, threads, single=False)

    @property
    def turns(self) -> Any:
        """The questions with their results so far; of a batch, such a tuple for each conversation."""
        told = [tuple(thread.turns) for thread in self._threads]
        return told if self._single is False else told[0]

    def render(self) -> Any:
        """What the language model was fed so far, control tokens written out; of a batch, one for each conversation.

        Slots have no spelling: behind a routing token nothing stands for them.
        """
        words, rows = self._model.tokenizer, self._model.network.rows
        own = {rows.token_id(name): words.id_of(self._model.table.by_name(name).token) for name in rows.names}
        fed = [[*thread.memory.ids, *thread.memory.unfed] for thread in self._threads]
        said = [words.decode(own.get(i, i) for i in ids if i < rows.starts[0]) for ids in fed]
        return said if self._single is False else said[0]

    def ask(
        self,
        text: str | Sequence[str],
        image: ImageSource | Sequence[ImageSource] | tuple[ImageSource, ...] | None = None,
        *,
        threshold: float | None = None,
        max_objects: int = 100,
        tasks: Sequence[str] | None = None,
        stream: bool = False,
        **sampling: Any,
    ) -> Any:
        """The next question, with an image, a tuple of several, or none; a `Result`, or a `Stream` of one.

        What is found is looked for in the (first) image of the latest turn that had one. A list asks each conversation
        of a batch its own, and gives a list of results. The options are those of `Model.ask`.
        """
        model = self._model
        how = Asking.of(
            model.table, model.limits, threshold=threshold, max_objects=max_objects, tasks=tasks, sampling=sampling
        )
        with alone(self._threads):
            requests, single = self._requests(text, image)
            new = self._single is None and not single  # it becomes a batch now
            threads = [self._threads[0].fork() for _ in requests] if new else self._threads
            answer = streamed(model, threads, requests, how, single=single) if stream else None
            if not requests:
                return []
            for thread in self._threads:
                thread.rest()
            results = [] if answer else answer_all(model, threads, requests, how, keep=True)
            threads[0].stream, self._threads, self._single = answer, threads, single  # nothing failed
            return answer or (results[0] if single else results)

    def fork(self) -> Session:
        """A session with the same past and a future of its own; it shares the cache until one of the two goes on.

        An answer that is still being said ends where it is.
        """
        with alone(self._threads):
            for thread in self._threads:
                thread.rest()
            return Session(self._model, [thread.fork() for thread in self._threads], single=self._single)

    def _requests(self, text: Any, image: Any) -> tuple[list[Request], bool]:
        """One request for each conversation, and whether it is one outside a list."""
        count = None if self._single is None else len(self._threads)
        if self._single is False or (self._single is None and isinstance(text, list)):
            count = len(text) if count is None else count
            image = [None] * count if image is None else image
        requests, single = requests_of(image, text, self._model.limits)
        if self._single is not None and single != self._single:
            fact = "one conversation; a list is for a batch" if self._single else "a batch; give images as a list"
            raise InputError(f"this session is {fact}")
        if count is not None and len(requests) != count:
            raise InputError(f"{len(requests)} questions for {count} conversations; give one each, or one str for all")
        return requests, single


def streamed(
    model: Model, threads: Sequence[Thread], requests: Sequence[Request], how: Asking, *, single: bool
) -> Stream:
    """The stream of the one request there is."""
    if not single:
        raise InputError("stream=True is for one request at a time; give it outside a list")
    return Stream(model, threads[0], requests[0], how)
