"""The vocabulary of a small model of our own: byte-level BPE in which words, blanks and marks stand apart.

A name therefore has the same ids behind `<ref>`, alone and inside a sentence, and any Unicode text comes back whole.
"""

from __future__ import annotations

from collections.abc import Iterable

from chiasm_registry.errors import InputError

from .patterns import WORD_OR_CHARACTER
from .tokenizer import Tokenizer

CONTROL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<img>",
    "</img>",
    "<IMG_CONTEXT>",
    "<quad>",
    "</quad>",
    "<ref>",
    "</ref>",
    "<box>",
    "</box>",
)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Learn at most `vocab_size` tokens from `texts`, control tokens and the 256 bytes included."""
    from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
    from tokenizers import Tokenizer as Engine

    smallest = len(CONTROL_TOKENS) + 256
    if vocab_size < smallest:
        raise InputError(f"a vocabulary of {vocab_size} is too small; control tokens and bytes alone need {smallest}")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    engine = Engine(models.BPE())
    words = pre_tokenizers.Split(Regex(WORD_OR_CHARACTER), "isolated")
    engine.pre_tokenizer = pre_tokenizers.Sequence([words, byte_level])
    engine.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in CONTROL_TOKENS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    engine.train_from_iterator(texts, trainer)
    return Tokenizer.from_json(engine.to_str())
