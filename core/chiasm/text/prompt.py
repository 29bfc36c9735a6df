"""A conversation as ids. Who wrote an id is known by its position, so no user can open a turn, an image or a route."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from chiasm_registry.errors import ChiasmError, InputError

from ..limits import LIMITS
from .gate import check_text
from .placed import Placed, Turn
from .templates import IMAGE_TOKEN, Piece, Template, find_template, pieces
from .tokenizer import Tokenizer

_MARKER = re.compile(r"<[^<>\s]+>")  # what our fixed strings write where a control token is meant


@dataclass(frozen=True)
class Prompt:
    """What a model is fed: ids, and for each image where its context tokens stand (start, stop)."""

    ids: tuple[int, ...]
    image_spans: tuple[tuple[int, int], ...]


def build_prompt(
    tokenizer: Tokenizer,
    template: Template | str,
    turns: Sequence[Turn],
    image_tokens: Sequence[int],
    *,
    system: str | None = None,
    max_chars: int = LIMITS.prompt_chars,
    max_tokens: int | None = None,
) -> Prompt:
    """Ids of a conversation; `image_tokens` holds the number of context tokens of each image.

    Questions, answers and the system message are encoded as the user's words; images in the midst of a question are
    given as a `Placed` question. Refused with an `InputError`: text that
    does not pass the gate, an earlier turn without an answer, an image without tokens, more than `max_tokens` ids.
    """
    found = find_template(template)
    turns = _checked(turns, image_tokens, max_chars)
    if system is not None:
        system = check_text(system, "the system message", max_chars=max_chars)
    prompt = _joined(tokenizer, list(pieces(found, turns, system, image_tokens)), found.plain)
    if max_tokens is not None and len(prompt.ids) > max_tokens:
        count, images = len(prompt.ids), sum(stop - start for start, stop in prompt.image_spans)
        raise InputError(f"the prompt has {count:,} tokens, {images:,} for images; the model takes {max_tokens:,}")
    return prompt


def build_turn(
    tokenizer: Tokenizer,
    template: Template | str,
    question: str | Placed,
    image_tokens: Sequence[int],
    *,
    close: bool = True,
    max_chars: int = LIMITS.prompt_chars,
) -> Prompt:
    """Ids of one more question with its images, to follow what was fed before.

    `close`: the last answer's end is not among what was fed, so it comes first. Refused as by `build_prompt`.
    """
    template = find_template(template)
    bare = replace(template, system=None, system_open=None)
    turns = _checked([(question, None)], image_tokens, max_chars)
    begin = [Piece(template.close, "template")] if close else []
    return _joined(tokenizer, [*begin, *pieces(bare, turns, None, image_tokens)], bare.plain, begins=False)


def _checked(turns: Sequence[Turn], image_tokens: Sequence[int], max_chars: int) -> list[Turn]:
    if not turns:
        raise InputError("the conversation has no turn; give a question")
    if any(count < 1 for count in image_tokens):
        raise InputError("each image needs at least one token")
    checked: list[Turn] = []
    for place, (question, answer) in enumerate(turns, start=1):
        if answer is None and place < len(turns):
            raise InputError(f"answer {place} is missing; only the last turn may be without one")
        what = f"question {place}" if len(turns) > 1 else "the prompt"
        if isinstance(question, Placed):
            question.check(what, max_chars=max_chars)
        else:
            question = check_text(question, what, max_chars=max_chars)
        answer = None if answer is None else check_text(answer, f"answer {place}", max_chars=max_chars)
        checked.append((question, answer))
    return checked


def _joined(
    tokenizer: Tokenizer, parts: Sequence[Piece], plain: Collection[str], *, begins: bool = True
) -> Prompt:
    """Encode all pieces, each with its writer, and compare with the plan: control tokens stand where ours have them."""
    encoded = tokenizer.encode_parts([(piece.text, piece.origin != "user") for piece in parts], begins=begins)
    written = [text for piece in parts if piece.origin != "user" for text in _MARKER.findall(piece.text)]
    wanted = [tokenizer.control_ids.get(text) for text in written if text not in plain]
    if [encoded.ids[place] for place, _ in encoded.controls] != wanted:
        raise ChiasmError("template and tokenizer do not fit: a marker of the template is no control token of its own")
    images = [number for number, piece in enumerate(parts) if piece.origin == "image"]
    places = {number: [place for place, part in encoded.controls if part == number] for number in images}
    spans = [(own[0], own[-1] + 1) for own in places.values()]
    start = len(tokenizer.prefix) if begins else 0
    _check_plan(encoded.ids, start, [place for place, _ in encoded.controls], spans, tokenizer)
    return Prompt(tuple(encoded.ids), tuple(spans))


def _check_plan(
    ids: Sequence[int], start: int, plan: Sequence[int], spans: Sequence[tuple[int, int]], tokenizer: Tokenizer
) -> None:
    controls = set(tokenizer.control_ids.values())
    if [place for place, token in enumerate(ids) if token in controls and place >= start] != list(plan):
        raise ChiasmError("a control token stands where none was planned; the prompt is not sent")
    image_id = tokenizer.control_ids.get(IMAGE_TOKEN)
    places = [place for place, token in enumerate(ids) if token == image_id]
    if places != [place for start, stop in spans for place in range(start, stop)]:
        raise ChiasmError("the image's places are not where they were planned; the prompt is not sent")
