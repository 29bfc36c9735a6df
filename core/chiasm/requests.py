"""What callers hand over, checked: one image or a list, one prompt or a list; and the clock of a request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from chiasm_registry import InputError

from .images import OpenedImage, open_image
from .limits import Limits
from .text import check_text


@dataclass(frozen=True)
class Request:
    """One prompt with its images, checked."""

    prompt: str
    images: tuple[OpenedImage, ...]


class Clock:
    """Seconds by name, added up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def opened(image: Any, limits: Limits) -> tuple[list[OpenedImage], bool]:
    """The images of a batch, and whether it was one image outside a list."""
    if isinstance(image, tuple):
        raise InputError("a tuple is several images of one request, which only ask() takes; a list is a batch")
    if not isinstance(image, list):
        return [open_image(image, limits=limits)], True
    return [open_image(source, limits=limits) for source in image], False


def requests_of(image: Any, prompt: Any, limits: Limits) -> tuple[list[Request], bool]:
    """The requests of a batch, and whether it was one outside a list; see `Model.ask` for what goes together."""
    if isinstance(prompt, list) and not isinstance(image, list):
        raise InputError("a list of prompts needs a list of images, one each; for one image ask one prompt at a time")
    images = image if isinstance(image, list) else [image]
    if not isinstance(prompt, list):
        prompt = check_text(prompt, "the prompt", max_chars=limits.prompt_chars)
    prompts = prompt if isinstance(prompt, list) else [prompt] * len(images)
    if len(prompts) != len(images):
        raise InputError(f"{len(prompts)} prompts for {len(images)} images; give one str, or one prompt an image")
    return [_request(own, text, limits) for own, text in zip(images, prompts, strict=True)], not isinstance(image, list)


def _request(image: Any, prompt: Any, limits: Limits) -> Request:
    sources = image if isinstance(image, tuple) else () if image is None else (image,)
    if isinstance(image, tuple) and not image:
        raise InputError("the tuple of images is empty; give None to ask without an image")
    if len(sources) > limits.images:
        raise InputError(f"{len(sources)} images in one request; at most {limits.images} are taken")
    text = check_text(prompt, "the prompt", max_chars=limits.prompt_chars)
    return Request(text, tuple(open_image(source, limits=limits) for source in sources))
