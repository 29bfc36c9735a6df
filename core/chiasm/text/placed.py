"""A question with images at the places where its writer wants them; words and images stay apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chiasm_registry.errors import InputError

from .gate import check_text

PLACE = "<image>"  # what people write where an image shall stand


@dataclass(frozen=True)
class Placed:
    """Words of the user and, between them, images: each the number of its context tokens."""

    parts: tuple[str | int, ...]

    @property
    def words(self) -> str:
        """What the user wrote, without the images."""
        return "".join(part for part in self.parts if isinstance(part, str))

    def check(self, what: str, *, max_chars: int) -> None:
        """Raise an `InputError` unless the words pass the gate and each image has tokens."""
        check_text(self.words, what, max_chars=max_chars)
        if any(type(part) is int and part < 1 for part in self.parts):
            raise InputError("each image needs at least one token")


Turn = tuple[str | Placed, str | None]  # question, answer; the last answer is None when the model shall speak


def place_images(question: str, image_tokens: Sequence[int]) -> Placed:
    """Put images where `question` says `<image>`, from left to right; more places than images stay words.

    Without a single place they stand in front, a line each, as the official code has it for one. Fewer places than
    images raise an `InputError`: nobody could know where the others belong.
    """
    words = question.split(PLACE)
    if len(words) == 1:
        front: list[str | int] = [part for count in image_tokens for part in (count, "\n")]
        return Placed((*front, question))
    if len(words) - 1 < len(image_tokens):
        fact = f"{len(image_tokens)} images, but the text has {len(words) - 1} times '{PLACE}'"
        raise InputError(f"{fact}; write it for each, or never")
    parts: list[str | int] = [words[0]]
    for count, text in zip(image_tokens, words[1:], strict=False):
        parts += [count, text]
    rest = "".join(PLACE + text for text in words[len(image_tokens) + 1 :])
    return Placed((*parts[:-1], f"{parts[-1]}{rest}"))


def video_question(question: str, frames: int) -> str:
    """A question about the frames of a video, in order, as the official examples write it: a place a frame."""
    return "".join(f"Frame{number}: {PLACE}\n" for number in range(1, frames + 1)) + question
