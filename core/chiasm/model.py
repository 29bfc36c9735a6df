"""The road: an image and words in, a `Result` out. `Model` is what `chiasm.load` gives; nothing here knows a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import torch
from chiasm_registry import TaskTable
from chiasm_registry.outputs import Notice
from torch import Tensor

from .answer import answered
from .images import ImageSource, OpenedImage
from .limits import LIMITS, Limits
from .options import MOST_OBJECTS, Asking, TaskOptions, check_threshold, count_of, task_names, task_options
from .requests import Asked, Clock, opened, pointed_at, requests_of
from .result import Result
from .routes import chains, guided_routes, in_turn, road_to
from .routing.generate import Voice
from .routing.guided import hear_prefix, speak_guided
from .routing.network import Network
from .routing.sequence import Markers
from .scene import Look, look_at
from .session import Session, streamed
from .speech import answer_all
from .text import Template, Tokenizer, build_prompt, check_phrases, check_text, render
from .thread import Thread, placed

R = TypeVar("R")
REQUESTS_AT_ONCE = 16  # prompts that are answered in one batch


@dataclass(frozen=True, eq=False, repr=False)
class Model:
    """A loaded model. Make one with `chiasm.load`; every error of its methods is a `ChiasmError` of one line."""

    network: Network
    table: TaskTable
    tokenizer: Tokenizer
    template: Template
    markers: Markers
    instruction: str  # what the prompt says in guided mode; never holds the phrases
    openings: Mapping[str, float] = field(default_factory=dict)  # of free answers: by how many logits they must lead
    echoes: Sequence[str] = ()  # what free answers begin with that name things in the words of the question
    untrained: frozenset[str] = frozenset()
    notices: tuple[Notice, ...] = ()
    limits: Limits = field(default=LIMITS)

    def __repr__(self) -> str:
        return f"Model(tasks={list(self.table.tasks)})"

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

        `threshold` None is the task's own; boxes are xyxy in pixels of the upright image; an image has `max_objects`.
        """
        return self.run("detection", image, names, threshold=threshold, max_objects=max_objects)

    def segment(
        self,
        image: ImageSource | Sequence[ImageSource],
        names: Sequence[str] | None = None,
        *,
        boxes: Any = None,
        points: Any = None,
        labels: Any = None,
        multimask: bool = False,
        threshold: float | None = None,
        max_objects: int = 100,
    ) -> Any:
        """Masks of every name, each in its box; or, of one image, of what boxes and points show, in their order.

        `boxes` (n, 4) xyxy, `points` (m, 2) of one thing or a list of such lists, `labels` 1 in it and 0 beside it (all
        1), in pixels; with them `names` are none, one, or one each, and there is no threshold. `multimask`: three each.
        """
        if names is not None and boxes is None and points is None and labels is None:
            options = {"threshold": threshold, "multimask": multimask, "max_objects": max_objects}
            return self.run(("detection", "segmentation"), image, names, **options)
        check_threshold(threshold)
        count_of(max_objects, "max_objects", 1, MOST_OBJECTS)  # each thing that is shown has its masks
        source, things = pointed_at(image, names, boxes, points, labels, self.limits)
        asked = TaskOptions.shared(self.table, task_names(self.table, "segmentation"), {"multimask": multimask})
        return self._guided([source], ["segmentation"], things, replace(asked, max_objects=3 * len(things)))[0]

    def draw(
        self, prompt: str, *, seed: int = 0, steps: int | None = None, guidance: float | None = None,
        size: int | None = None, **options: Any,
    ) -> Any:
        """A `Result` whose `pictures` has one of what `prompt` says; None is the task's own, a seed one picture."""
        said = check_text(prompt, "the prompt", max_chars=self.limits.phrase_chars)
        numbers = {"seed": seed, "steps": steps, "guidance": guidance, "size": size}
        return self.run("generation", None, [said], **numbers, **options)

    def chat(
        self, *, system: str | None = None, history: Sequence[tuple[str, str]] = (), images: Sequence[ImageSource] = ()
    ) -> Session:
        """A conversation: `session.ask(text, image)` again and again; what was said before is not run again.

        `system` replaces the template's own message; `history` are questions with their answers, said elsewhere, and
        `images` those that they were about, where they say `<image>` (or in front of the first).
        """
        return Session.begin(self, system, history, images)

    def run(
        self,
        task: str | Sequence[str],
        image: ImageSource | Sequence[ImageSource] | None,
        phrases: Sequence[str],
        **options: Any,
    ) -> Any:
        """Any task or tasks, guided: each phrase is asked of each image; options are those of the tasks' schemas."""
        names = in_turn(self.table, task_names(self.table, task, without_image=image is None))
        asked, limits = TaskOptions.shared(self.table, names, options), self.limits
        checked = check_phrases(phrases, max_phrases=limits.phrases, max_chars=limits.phrase_chars)
        things = [Asked(phrase) for phrase in checked]
        sources, single = ([None], True) if image is None else opened(image, self.limits)
        results = self._guided(sources, names, things, asked)
        return results[0] if single else results

    def ask(
        self,
        image: ImageSource | Sequence[ImageSource] | tuple[ImageSource, ...] | None,
        prompt: str | Sequence[str],
        *,
        threshold: float | None = None,
        max_objects: int = 100,
        tasks: Sequence[str] | None = None,
        stream: bool = False,
        **sampling: Any,
    ) -> Any:
        """Say anything about an image: the model answers and routes what it names to the tasks.

        A tuple is several images of one request. One `str` is shared by a list of images; a list of prompts must be as
        long as the list of images. `tasks` limits what may be routed; with [] it only speaks. Options of sampling are
        transformers'. With `stream` one request gives a `Stream` in place of its `Result`.
        """
        how = Asking.of(
            self.table, self.limits, threshold=threshold, max_objects=max_objects, tasks=tasks, sampling=sampling
        )
        requests, single = requests_of(image, prompt, self.limits)
        if stream:
            return streamed(self, [Thread()], requests, how, single=single)
        results = []
        for part in _chunks(requests, REQUESTS_AT_ONCE):
            results += answer_all(self, [Thread() for _ in part], part, how, keep=False)
        return results[0] if single else results

    def render(self, prompt: str, *, images: int = 1) -> str:
        """The whole conversation as the model is fed it, control tokens written out; one tile an image.

        Images stand where the prompt says `<image>`, or in front of it.
        """
        question = check_text(prompt, "the prompt", max_chars=self.limits.prompt_chars)
        tiles = [self.network.backbone.tokens_per_tile] * count_of(images, "images", 0, self.limits.images)
        words, loose = placed(question, tiles)
        return render(self.template, [(words, None)], image_tokens=loose)

    def default_threshold(self, task: str) -> float | None:
        """The threshold that a task uses when the caller gives none; None if it has no such option."""
        (name,) = task_names(self.table, [task])
        return getattr(task_options(self.table, name, {}), "threshold", None)

    @cached_property
    def voice(self) -> Voice:
        """What speaks freely: the network, its words, and what it may never say as plain text."""
        unused = range(self.tokenizer.size, self.network.backbone.vocabulary)  # rows that no token stands for
        controls = (*self.tokenizer.control_ids.values(), *unused)
        openings = tuple((tuple(self.tokenizer.encode_user(text)), lead) for text, lead in self.openings.items())
        echoes = tuple(tuple(self.tokenizer.encode_user(text)) for text in self.echoes)
        return Voice(self.network, self.tokenizer, self.markers, controls, self.limits.routes, openings, echoes)

    # The road itself, guided; the free one is `speech.answer_all`.

    @torch.inference_mode()
    def _guided(
        self, images: Sequence[OpenedImage | None], tasks: Sequence[str], things: Sequence[Asked], asked: TaskOptions
    ) -> list[Result]:
        """Each image by itself: look, speak every phrase as a branch, dispatch, answer."""
        phrases = list(dict.fromkeys(thing.phrase for thing in things if thing.phrase))
        spelled = [self.tokenizer.encode_user(phrase) for phrase in phrases]
        results = []
        for image in images:
            clock = Clock()
            with clock("see"):
                look = look_at(self.network, [image])[0] if image else None
            with clock("speak"):
                said = self._speak(look, phrases, spelled, tasks) if phrases else {}
            routes = guided_routes(self.network, tasks, things, said, asked)
            results.append(answered(self, look, None, routes, asked, clock))
        return results

    def _speak(
        self, look: Look | None, phrases: Sequence[str], spelled: Sequence[Sequence[int]], tasks: Sequence[str]
    ) -> dict[str, dict[str, Tensor]]:
        """Each phrase's slots (K, D) by task; what stands before it is heard once, or by each chain's own adapters."""
        ids = self._prompt(self.instruction, [look] if look else [])
        tokens, places = (look.tokens, [look.places]) if look else (None, [])
        said: dict[str, dict[str, Tensor]] = {phrase: {} for phrase in phrases}
        network, prefix, at_once = self.network, None, self.limits.phrases_at_once
        for chain in chains(self.table, tasks):
            with network.speaking_for(chain):
                if prefix is None or network.adapted:
                    prefix = hear_prefix(network, self.markers, ids, tokens, places)
                spoken = speak_guided(network, self.markers, prefix, spelled, chain, at_once=at_once)
            own = [task for k, task in enumerate(chain, 1) if road_to(self.table, tasks, task) == chain[:k]]
            for phrase, slots in zip(phrases, spoken, strict=True):
                said[phrase].update({task: slots[task] for task in own})
        return said

    def _prompt(self, question: str, looks: Sequence[Look]) -> tuple[int, ...]:
        counts = [len(look.tokens) for look in looks]
        turns, chars, most = [(question, None)], self.limits.prompt_chars, self.network.backbone.positions
        return build_prompt(self.tokenizer, self.template, turns, counts, max_chars=chars, max_tokens=most).ids


def _chunks(items: Sequence[R], size: int) -> Iterator[Sequence[R]]:
    return (items[start : start + size] for start in range(0, len(items), size))
