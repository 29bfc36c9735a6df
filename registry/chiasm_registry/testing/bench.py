"""What a task is tried on: cores, pictures, fresh decoders, and their answers as the plugin gave them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from ..check import check_answers
from ..contract import Route, Scene
from ..outputs import Output
from ..task import Task
from .core import TinyCore, tiny_core
from .rule import BrokenRuleError, NotApplicableError
from .shapes import ABSENT, KINDS, Drawn, draw_shapes

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor

SIZE_HW = (72, 96)  # of a picture that is no square
STIRRED = 0.05  # spread of what is added to a fresh decoder's weights


@dataclass
class Bench:
    """One task and everything a rule needs to try it.

    `module`, `attribute` and `path` say where the plugin is imported from; `names` is what the three drawn kinds of
    things are called, for a task that knows certain words only; `options` is what a caller would set, `training` the
    task's part of a training config.
    """

    task: Task
    module: str = ""
    attribute: str = ""
    path: str = ""
    names: tuple[str, ...] = KINDS
    absent: str = ABSENT
    options: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def home(self) -> str:
        """The module that the task's class was written in."""
        return type(self.task).__module__

    @property
    def phrases(self) -> tuple[str, ...]:
        """Three phrases, the last of which is not in any picture."""
        return (*self.names[:2], self.absent)

    @cached_property
    def core(self) -> TinyCore:
        """A core with a pyramid of maps."""
        return tiny_core(pyramid=True)

    @cached_property
    def drawn(self) -> tuple[Drawn, ...]:
        """Three square pictures, as training sees them."""
        return tuple(draw_shapes(3, names=self.names))

    @cached_property
    def picture(self) -> Image:
        """One picture that is wider than high."""
        return draw_shapes(1, size_hw=SIZE_HW, names=self.names, seed=1)[0].picture

    def decoder(self, *, core: TinyCore | None = None, dtype: torch.dtype | None = None, seed: int = 0) -> Any:
        """A fresh decoder in evaluation mode, the same for the same seed.

        Its weights are stirred: what starts at zero, and answers alike to everything, would hide what a rule looks for.
        """
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made: Any = self.task.decoder((core or self.core).info(dtype))
            if not isinstance(made, torch.nn.Module) or not callable(getattr(made, "decode", None)):
                raise BrokenRuleError(f"decoder() returned a {type(made).__name__} and no nn.Module with decode()")
            with torch.no_grad():
                for parameter in made.parameters():
                    parameter.add_(STIRRED * torch.randn_like(parameter))
        return (made if dtype is None else made.to(dtype)).eval()

    @cached_property
    def kept(self) -> Any:
        """One decoder for the rules that only look at answers."""
        return self.decoder()

    @cached_property
    def telling(self) -> BaseModel:
        """The options as they stand, or without a threshold where the answers would all be empty.

        For rules that answers keep which say nothing. Not for those that compare two passes: of many places that are
        all alike to a decoder that has learned nothing, rounding decides which it finds.
        """
        schema = self.task.spec.options
        own = schema(**self.options)
        if "threshold" in self.options or "threshold" not in schema.model_fields:
            return own
        routes = self._routes(self.phrases, self.picture, self.core, own)
        if any(not answer.is_empty() for answer in self.decoded(self.kept, self.scene(), routes)):
            return own
        with contextlib.suppress(ValidationError):  # a threshold in units of its own
            return schema(**self.options, threshold=0.0)
        return own

    def asked(
        self,
        phrases: Sequence[str],
        picture: Image | None = None,
        core: TinyCore | None = None,
        *,
        telling: bool = False,
    ) -> list[Route]:
        """Routes of the phrases, on copies of their own; with the `telling` options, or with those of the bench."""
        options = self.telling if telling else self.task.spec.options(**self.options)
        return self._routes(phrases, picture or self.picture, core or self.core, options)

    def _routes(self, phrases: Sequence[str], picture: Image, core: TinyCore, options: BaseModel) -> list[Route]:
        import torch

        spec = self.task.spec
        with torch.no_grad():
            return core.routes(spec, picture if spec.needs_image else None, phrases, options=options)

    def scene(self, picture: Image | None = None, core: TinyCore | None = None) -> Scene:
        """The picture as this task sees it: without maps where it needs no image."""
        scene = (core or self.core).scene(picture or self.picture)
        return scene if self.task.spec.needs_image else replace(scene, maps=())

    def answers(
        self, decoder: Any, phrases: Sequence[str], picture: Image | None = None, *, telling: bool = False
    ) -> list[Output]:
        """What the decoder answers, one output a phrase, not yet checked further."""
        return self.decoded(decoder, self.scene(picture), self.asked(phrases, picture, telling=telling))

    def decoded(self, decoder: Any, scene: Scene, routes: Sequence[Route]) -> list[Output]:
        """One call of `decode` under one seed, without gradients."""
        import torch

        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            given = decoder.decode(scene, routes)
        answers = check_answers(given, len(routes))
        for answer in answers:
            if type(answer) is not self.task.spec.output:
                raise BrokenRuleError(f"decode() gave a {type(answer).__name__}, not {self.task.spec.output.__name__}")
        return answers  # type: ignore[return-value]  # each was looked at

    def learner(self) -> Any:
        """A decoder in training mode; a task that cannot be trained is none of this rule's business."""
        decoder = self.decoder()
        if not callable(getattr(decoder, "loss", None)):
            raise NotApplicableError("its decoder has no loss(): it is not trained")
        if type(self.task).targets is Task.targets:
            raise BrokenRuleError("its decoder has loss(), but the task has no targets()")
        if callable(getattr(decoder, "prepare", None)):
            decoder.prepare(self.training, {})
        return decoder.train()

    def lessons(self, phrases: Sequence[Sequence[str]], vectors: Tensor | None = None) -> Lessons:
        """Scenes, routes and targets of the drawn pictures, each asked its own phrases."""
        spec = self.task.spec
        samples = [one.sample(f"drawn {k}", own) for k, (one, own) in enumerate(zip(self.drawn, phrases, strict=False))]
        targets = [list(self.task.targets(sample)) for sample in samples]
        for sample, given in zip(samples, targets, strict=True):
            if len(given) != len(sample.phrases):
                raise BrokenRuleError(f"targets() gave {len(given)} targets for {len(sample.phrases)} phrases")
        pictures = [one.picture for one, _ in zip(self.drawn, samples, strict=False)]
        routes = [self.core.routes(spec, p, s.phrases, vectors) for p, s in zip(pictures, samples, strict=True)]
        return Lessons([self.scene(picture) for picture in pictures], routes, targets)


@dataclass(frozen=True)
class Lessons:
    """A batch as `loss` gets it, nested by image."""

    scenes: list[Scene]
    routes: list[list[Route]]
    targets: list[list[Any]]
