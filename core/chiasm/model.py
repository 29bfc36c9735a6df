"""The road: an image and words in, a `Result` out. `Model` is what `chiasm.load` gives; nothing here knows a task."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

import torch
from chiasm_registry import ChiasmError, InputError, Output, Route, TaskTable
from chiasm_registry.dispatch import dispatch
from chiasm_registry.errors import shown
from chiasm_registry.outputs import Notice
from torch import Tensor

from .answer import make_result, not_found
from .images import ImageSource, OpenedImage, open_image
from .limits import LIMITS, Limits
from .options import TaskOptions, sampling_of, task_options
from .result import Result
from .routing.generate import Sampling, Spoken, speak_free
from .routing.grammar import read_answer
from .routing.guided import speak_guided
from .routing.network import Network
from .routing.sequence import Markers
from .scene import Look, look_at, no_scene
from .text import Template, Tokenizer, build_prompt, check_phrases, check_text, render

R = TypeVar("R")
REQUESTS_AT_ONCE = 16  # prompts that are answered in one batch


@dataclass(frozen=True)
class _Request:
    """One prompt with its images, checked."""

    prompt: str
    images: tuple[OpenedImage, ...]


class Clock:
    """Seconds by name, added up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded model. Make one with `chiasm.load`; every error of its methods is a `ChiasmError` of one line."""

    network: Network
    table: TaskTable
    tokenizer: Tokenizer
    template: Template
    markers: Markers
    instruction: str  # what the prompt says in guided mode; never holds the phrases
    untrained: frozenset[str] = frozenset()
    notices: tuple[Notice, ...] = ()
    limits: Limits = field(default=LIMITS)

    # What people call. A list is a batch: a list of images gives a list of results.

    def detect(
        self,
        image: ImageSource | Sequence[ImageSource],
        names: Sequence[str],
        *,
        threshold: float | None = None,
        max_objects: int = 100,
    ) -> Any:
        """Boxes of every name: a `Result`, or a list of them for a list of images.

        `threshold` None is the task's own; boxes are xyxy in pixels of the upright image; at most `max_objects` an image.
        """
        return self.run("detection", image, names, threshold=threshold, max_objects=max_objects)

    def segment(self, image: ImageSource | Sequence[ImageSource], names: Sequence[str] | None = None, **_: Any) -> NoReturn:
        """Not there yet: masks come with the segmentation plugin."""
        raise ChiasmError("segment() is not there yet; it comes with the segmentation plugin. detect() gives boxes")

    def draw(self, prompt: str, **_: Any) -> NoReturn:
        """Not there yet: pictures come with the generation plugin."""
        raise ChiasmError("draw() is not there yet; it comes with the generation plugin")

    def chat(self) -> NoReturn:
        """Not there yet: a conversation that keeps its cache."""
        raise ChiasmError("chat() is not there yet; ask() answers one request at a time")

    def run(
        self,
        task: str | Sequence[str],
        image: ImageSource | Sequence[ImageSource] | None,
        phrases: Sequence[str],
        **options: Any,
    ) -> Any:
        """Any task or tasks, guided: each phrase is asked of each image; options are those of the tasks' schemas."""
        names = (task,) if isinstance(task, str) else tuple(task)
        asked = self._task_options(names, options)
        checked = check_phrases(phrases, max_phrases=self.limits.phrases, max_chars=self.limits.phrase_chars)
        if image is None:
            self._refuse_without_image(names)
            return self._guided([None], names, checked, asked)[0]
        opened, single = self._opened(image)
        results = self._guided(opened, names, checked, asked)
        return results[0] if single else results

    def ask(
        self,
        image: ImageSource | Sequence[ImageSource] | tuple[ImageSource, ...] | None,
        prompt: str | Sequence[str],
        *,
        threshold: float | None = None,
        max_objects: int = 100,
        tasks: Sequence[str] | None = None,
        **sampling: Any,
    ) -> Any:
        """Say anything about an image: the model answers and routes what it names to the tasks.

        A tuple is several images of one request. One `str` is shared by a list of images; a list of prompts must be as
        long as the list of images. `tasks` limits what may be routed. Options of sampling are transformers'.
        """
        allowed = self._allowed(tasks)
        options = {name: task_options(self.table, name, {"threshold": threshold, "max_objects": max_objects}) for name in allowed}
        asked = TaskOptions(options, max_objects)
        requests, single = self._requests(image, prompt)
        chosen = sampling_of(sampling, self.limits.new_tokens)
        results = [r for part in _chunks(requests, REQUESTS_AT_ONCE) for r in self._free(part, allowed, asked, chosen)]
        return results[0] if single else results

    def render(self, prompt: str, *, images: int = 1) -> str:
        """The whole conversation as the model is fed it, control tokens written out; one tile an image."""
        question = check_text(prompt, "the prompt", max_chars=self.limits.prompt_chars)
        return render(self.template, [(question, None)], image_tokens=[self.network.backbone.tokens_per_tile] * images)

    def default_threshold(self, task: str) -> float | None:
        """The threshold that a task uses when the caller gives none; None if it has no such option."""
        return getattr(task_options(self.table, task, {}), "threshold", None)

    # The road itself.

    @torch.inference_mode()
    def _guided(
        self, images: Sequence[OpenedImage | None], tasks: Sequence[str], phrases: Sequence[str], asked: TaskOptions
    ) -> list[Result]:
        """Each image by itself: look, speak every phrase as a branch, dispatch, answer."""
        spelled = [self.tokenizer.encode_user(phrase) for phrase in phrases]
        results = []
        for image in images:
            clock = Clock()
            with clock("see"):
                look = look_at(self.network, [image])[0] if image else None
            with clock("speak"):
                prefix = self._prompt(self.instruction, [look] if look else [])
                tokens = look.tokens if look else None
                at_once = self.limits.phrases_at_once
                spoken = speak_guided(self.network, self.markers, prefix, tokens, spelled, tasks, at_once=at_once)
            routes = [
                self._route(task, phrase, slots[task], asked)
                for phrase, slots in zip(phrases, spoken, strict=True)
                for task in tasks
            ]
            results.append(self._answer(look, "", routes, asked, clock))
        return results

    @torch.inference_mode()
    def _free(
        self, requests: Sequence[_Request], tasks: Sequence[str], asked: TaskOptions, sampling: Sampling
    ) -> list[Result]:
        """A batch of requests: look, let the model speak, dispatch what it routed, answer."""
        clock = Clock()
        with clock("see"):
            looks = look_at(self.network, [image for request in requests for image in request.images])
        rest = iter(looks)
        seen = [[next(rest) for _ in request.images] for request in requests]
        with clock("speak"):
            prompts = [self._prompt(request.prompt, own) for request, own in zip(requests, seen, strict=True)]
            answers = speak_free(
                self.network,
                self.markers,
                prompts,
                torch.cat([look.tokens for look in looks]) if looks else None,
                tasks=[task for task in tasks if task not in self.untrained],
                controls=self.tokenizer.control_ids.values(),
                sampling=sampling,
                max_routes=self.limits.routes,
            )
        shared = {name: seconds / len(requests) for name, seconds in clock.seconds.items()}
        return [self._heard(answer, own, asked, shared) for answer, own in zip(answers, seen, strict=True)]

    def _heard(self, answer: Spoken, looks: Sequence[Look], asked: TaskOptions, shared: Mapping[str, float]) -> Result:
        """One spoken answer read and dispatched on the request's first image."""
        text, heard = read_answer(answer.ids, self.tokenizer, self.network.rows, self.markers)
        routes = []
        for one in heard:
            count = len(self.network.rows.slot_ids(one.task))
            slots = answer.hidden[one.first_slot : one.first_slot + count]
            routes.append(self._route(one.task, one.phrase, slots, asked, one.span))
        clock = Clock()
        clock.seconds.update(shared)
        return self._answer(looks[0] if looks else None, text, routes, asked, clock)

    def _answer(
        self, look: Look | None, text: str, routes: Sequence[Route], asked: TaskOptions, clock: Clock
    ) -> Result:
        """Dispatch one image's routes and make its result; in free mode the text ends with what was not found."""
        notices: list[Notice] = []
        answers: list[Output | Notice] = []
        with clock("decode"):
            scene = look.scene if look else no_scene(self.network)
            answers = dispatch(
                self.table,
                {name: decoder for name, decoder in self.network.decoders.items()},  # type: ignore[misc]  # each is a Decoder
                scene,
                routes,
                max_items=self.limits.items,
                time_limit_s=self.limits.decode_s,
                notices=notices,
            )
        for name in sorted({route.task for route in routes} & self.untrained):
            notices.append(Notice(text=f"task {name!r} is untrained: this checkpoint has no weights for it", task=name))
        spoken = [text, not_found(routes, answers)] if text else [text]
        return make_result(
            look.image if look else None,
            " ".join(part for part in spoken if part),
            routes,
            answers,
            notices=notices,
            tasks=self.table.tasks,
            max_objects=asked.max_objects,
            timings=clock.seconds,
        )

    def _route(
        self, task: str, phrase: str, slots: Tensor, asked: TaskOptions, span: tuple[int, int] | None = None
    ) -> Route:
        row = self.network.rows.tasks[self.network.rows.names.index(task)]
        vectors: Tensor = row.vectors  # type: ignore[assignment]  # a Parameter
        return Route(
            task=task, phrase=phrase, slots=slots, embeddings=vectors.detach(), span=span, options=asked.of_task[task]
        )

    def _prompt(self, question: str, looks: Sequence[Look]) -> tuple[int, ...]:
        counts = [len(look.tokens) for look in looks]
        return build_prompt(
            self.tokenizer, self.template, [(question, None)], counts, max_chars=self.limits.prompt_chars
        ).ids

    # What callers hand over, checked.

    def _task_options(self, names: Sequence[str], options: Mapping[str, Any]) -> TaskOptions:
        for name in names:
            self._loaded(name)
        if len(set(names)) != len(names) or not names:
            raise InputError(f"tasks must name each task once, not {shown(list(names))}")
        return TaskOptions.shared(self.table, names, options)

    def _loaded(self, name: object) -> str:
        if not isinstance(name, str) or name not in self.table.tasks:
            raise ChiasmError(f"no task {shown(repr(name), 40)} is loaded; loaded: {', '.join(self.table.tasks) or 'none'}")
        return name

    def _allowed(self, tasks: Sequence[str] | None) -> tuple[str, ...]:
        if tasks is None:
            return tuple(self.table.tasks)
        if isinstance(tasks, str):
            raise InputError(f"tasks must be a list of names; for one task write [{shown(repr(tasks), 40)}]")
        return tuple(self._loaded(name) for name in tasks)

    def _refuse_without_image(self, names: Sequence[str]) -> None:
        for name in names:
            if self.table.by_name(name).spec.needs_image:
                raise InputError(f"task {name!r} needs an image; give one in place of None")

    def _opened(self, image: Any) -> tuple[list[OpenedImage], bool]:
        if isinstance(image, tuple):
            raise InputError("a tuple is several images of one request, which only ask() takes; a list is a batch")
        sources = image if isinstance(image, list) else [image]
        if len(sources) == 1 and not isinstance(image, list):
            return [open_image(image, limits=self.limits)], True
        return [open_image(source, limits=self.limits) for source in sources], False

    def _requests(self, image: Any, prompt: Any) -> tuple[list[_Request], bool]:
        images = image if isinstance(image, list) else [image]
        prompts = prompt if isinstance(prompt, list) else [prompt] * len(images)
        if isinstance(prompt, list) and not isinstance(image, list):
            raise InputError("a list of prompts needs a list of images, one each; for one image ask one prompt at a time")
        if len(prompts) != len(images):
            raise InputError(f"{len(prompts)} prompts for {len(images)} images; give one str, or one prompt an image")
        return [self._request(own, text) for own, text in zip(images, prompts, strict=True)], not isinstance(image, list)

    def _request(self, image: Any, prompt: Any) -> _Request:
        sources = image if isinstance(image, tuple) else () if image is None else (image,)
        if isinstance(image, tuple) and not image:
            raise InputError("the tuple of images is empty; give None to ask without an image")
        if len(sources) > self.limits.images:
            raise InputError(f"{len(sources)} images in one request; at most {self.limits.images} are taken")
        text = check_text(prompt, "the prompt", max_chars=self.limits.prompt_chars)
        return _Request(text, tuple(open_image(source, limits=self.limits) for source in sources))


def _chunks(items: Sequence[R], size: int) -> Iterator[Sequence[R]]:
    return (items[start : start + size] for start in range(0, len(items), size))
