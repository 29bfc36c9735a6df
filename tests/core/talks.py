"""A conversation of four turns, ways to hold it, and what the tests of conversations look at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from chiasm.model import Model
from chiasm.result import Result
from chiasm.session import Session
from core.tiny import picture, talkative, tiny_model

SHORT: dict[str, Any] = {"max_new_tokens": 24, "threshold": 0}
SAMPLED: dict[str, Any] = {"do_sample": True, "seed": 5, **SHORT}
TALK: list[tuple[str, Any]] = [
    ("Find the dog.", picture(60, 40, 1)),
    ("And the cat?", None),
    ("What of these two?", (picture(300, 60, 2), picture(33, 171, 3))),
    ("Find the cup.", None),
]


@pytest.fixture(scope="module")
def model() -> Model:
    """A tiny model that names and routes things."""
    return talkative(tiny_model())


@contextmanager
def passes(model: Model) -> Iterator[list[int]]:
    """How many positions each pass through the language model has, as they come."""
    counts: list[int] = []
    backbone, speak = model.network.backbone, model.network.backbone.speak

    def counted(embeds: torch.Tensor, *rest: Any) -> torch.Tensor:
        counts.append(embeds.shape[1])
        return speak(embeds, *rest)

    backbone.speak = counted  # type: ignore[method-assign]
    try:
        yield counts
    finally:
        del backbone.speak  # type: ignore[attr-defined]


def talk(session: Session, turns: list[tuple[str, Any]] = TALK, **more: Any) -> list[Result]:
    """The answers to the turns, one after the other."""
    return [session.ask(text, image, **(SAMPLED | more)) for text, image in turns]


def memory(session: Session) -> Any:
    """What a single conversation keeps."""
    return session._threads[0].memory


def looks(model: Model) -> Iterator[list[Any]]:
    """What the model sees of each turn's images in `TALK`."""
    from chiasm.images import open_image
    from chiasm.scene import look_at

    for _, image in TALK:
        images = image if isinstance(image, tuple) else [] if image is None else [image]
        yield look_at(model.network, [open_image(one) for one in images])
