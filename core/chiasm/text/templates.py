"""How a conversation is laid out for a model: pieces of ours and words of the user, in order, each with its origin.

A template is data of the program, never of a checkpoint folder; there is no template language and no filter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from chiasm_registry.errors import ChiasmError, shown

from .placed import Placed, Turn

IMAGE_OPEN, IMAGE_TOKEN, IMAGE_CLOSE = "<img>", "<IMG_CONTEXT>", "</img>"

# the sentence that the InternVL2 models were trained with; it stands only in the authors' conversation code
_INTERNVL2_SYSTEM = (
    "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, 是一个有用无害的人工智能助手。"
)


_INTERNVL25_SYSTEM = (
    "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
)


@dataclass(frozen=True)
class Template:
    """The fixed strings around a conversation; `close` ends every message, `stop` is the token that ends an answer."""

    name: str
    user_open: str
    assistant_open: str
    close: str
    system_open: str | None = None  # None: a template without system messages
    system: str | None = None  # said when the caller gives none
    user_close: str | None = None  # what ends a question and the system message, if it is not `close`
    gap: str = ""  # between an opening and what is said
    plain: tuple[str, ...] = ()  # what looks like a control token here, and is ordinary text
    around_image: tuple[str, str] = (IMAGE_OPEN, IMAGE_CLOSE)
    behind_image: str = "\n"  # of one that no question places
    images_first: bool = False  # they stand in front of the question's opening

    @property
    def stop(self) -> str:
        return self.close.strip()


@dataclass(frozen=True)
class Piece:
    """Some text and who wrote it; an image's context tokens are a piece of their own."""

    text: str
    origin: Literal["template", "user", "image"]


_NANO = Template("nano", "<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_end|>")
_CHATML = ("<|im_start|>user\n", "<|im_start|>assistant\n", "<|im_end|>", "<|im_start|>system\n", _INTERNVL2_SYSTEM)
_QWEN_SYSTEM = "You are a helpful assistant."
_QUERIES: Mapping[str, Any] = {"around_image": ("", "</s>"), "behind_image": "", "images_first": True}
_PHI3 = ("<|user|>\n", "<|assistant|>\n", "<|end|>", "<|system|>\n", _INTERNVL2_SYSTEM)

TEMPLATES: Mapping[str, Template] = MappingProxyType(
    {
        template.name: template
        for template in (
            _NANO,
            Template("internlm2-chat", *_CHATML),
            Template("Hermes-2", *_CHATML),
            Template("phi3-chat", *_PHI3),
            Template("internvl2_5", *_CHATML[:2], "<|im_end|>\n", _CHATML[3], _INTERNVL25_SYSTEM),
            Template("internvl_zh", "<human>:", "<bot>:", "</s>", "", "", " ", " ", ("<human>", "<bot>")),
            Template("vicuna", "USER:", "ASSISTANT:", "</s>", "", gap=" ", user_close=" ", around_image=("", "")),
            Template("mistral", "[INST]", "", "</s>", gap=" ", user_close=" [/INST]", around_image=("", "")),
            Template("qwen2-vl", *_CHATML[:2], "<|im_end|>\n", _CHATML[3], _QWEN_SYSTEM, behind_image=""),
            Template("blip2", "Question: ", "Answer:", "</s>", user_close=" ", **_QUERIES),
        )
    }
)


def find_template(template: Template | str) -> Template:
    """The template of this name; one that is already a `Template` comes back as it is."""
    if isinstance(template, Template):
        return template
    if template not in TEMPLATES:
        raise ChiasmError(f"no template '{shown(template, 40)}'; there are {', '.join(TEMPLATES)}")
    return TEMPLATES[template]


def render(
    template: Template | str, turns: Sequence[Turn], system: str | None = None, image_tokens: Sequence[int] = ()
) -> str:
    """The whole conversation as one string, to look at or to compare; what a model is fed comes from `build_prompt`."""
    return "".join(piece.text for piece in pieces(find_template(template), turns, system, image_tokens))


def pieces(
    template: Template, turns: Sequence[Turn], system: str | None, image_tokens: Sequence[int]
) -> Iterator[Piece]:
    """The conversation in order; images stand in front of the first question, an empty message is a bare opening.

    `image_tokens` are images that no question places: they stand in front of the first.
    """
    yield from _system(template, system)
    for place, (question, answer) in enumerate(turns, start=1):
        images = [] if place > 1 else [piece for count in image_tokens for piece in _in_front(template, count)]
        yield from images if template.images_first else ()
        yield Piece(template.user_open, "template")
        yield from _message(template, question, _user_close(template), () if template.images_first else images)
        yield Piece(template.assistant_open, "template")
        yield from _message(template, answer, template.close)


def _user_close(template: Template) -> str:
    return template.close if template.user_close is None else template.user_close


def _system(template: Template, system: str | None) -> Iterator[Piece]:
    message = template.system if system is None else system
    if message is None:
        return
    if template.system_open is None:
        raise ChiasmError(f"the template '{template.name}' takes no system message")
    yield Piece(template.system_open, "template")
    yield Piece(message, "user")
    yield Piece(_user_close(template), "template")


def _image(template: Template, count: int) -> Iterator[Piece]:
    before, behind = template.around_image
    yield Piece(before, "template")
    yield Piece(IMAGE_TOKEN * count, "image")
    yield Piece(behind, "template")


def _in_front(template: Template, count: int) -> Iterator[Piece]:
    yield from _image(template, count)
    yield Piece(template.behind_image, "template")


def _message(
    template: Template, said: str | Placed | None, close: str, images: Sequence[Piece] = ()
) -> Iterator[Piece]:
    """What is said, with its images, between a gap and its end; nothing at all if nothing is said."""
    parts = said.parts if isinstance(said, Placed) else (said or "",)
    if not images and not any(parts):
        return
    yield Piece(template.gap, "template")
    yield from images
    for part in parts:
        if isinstance(part, int):
            yield from _image(template, part)
        else:
            yield Piece(part, "template" if part == "\n" else "user")
    yield Piece(close, "template")
