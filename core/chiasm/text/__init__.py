"""Words in, ids out: template pieces and a user's words are encoded apart and joined as ids, never as strings."""

from __future__ import annotations

from .gate import check_phrases, check_text
from .placed import Placed, Turn, place_images, video_question
from .prompt import Prompt, build_prompt, build_turn
from .templates import TEMPLATES, Template, render
from .tokenizer import Tokenizer, load_tokenizer
from .vocabulary import CONTROL_TOKENS, train_tokenizer

__all__ = [
    "CONTROL_TOKENS",
    "TEMPLATES",
    "Placed",
    "Prompt",
    "Template",
    "Tokenizer",
    "Turn",
    "build_prompt",
    "build_turn",
    "check_phrases",
    "check_text",
    "load_tokenizer",
    "place_images",
    "render",
    "train_tokenizer",
    "video_question",
]
