"""Every limit of the platform in one place; where one is taken, a changed copy (`dataclasses.replace`) may be given."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What is refused before any work is done."""

    image_bytes: int = 128 * 2**20  # of an image file
    image_pixels: int = 50_000_000  # from the header, before decoding
    image_side: int = 65_535
    image_aspect: float = 200.0  # long side over short side
    prompt_chars: int = 32_768
    phrase_chars: int = 256
    phrases: int = 5_000  # in one request
    phrases_at_once: int = 100  # branches of one guided pass; more are run in chunks on the same prefix
    images: int = 64  # of one request
    tokenizer_bytes: int = 64 * 2**20  # of a tokenizer.json
    new_tokens: int = 512  # of one answer
    routes: int = 100  # of one answer
    items: int = 10_000  # of one output
    decoder_parameters: int = 4_000_000_000  # of one task
    decode_s: float = 60.0  # of one decoder call before a notice says that it is slow
    json_bytes: int = 512 * 2**20  # of an annotation or result file
    json_depth: int = 64
    header_bytes: int = 10 * 2**20  # of a safetensors file
    tensors: int = 20_000  # of one safetensors file
    copied_bytes: int = 2**30  # weights of a foreign folder up to this are copied when read, larger ones are mapped
    score_s: float = 1_800.0  # of a scoring child process
    convert_s: float = 600.0  # of the child process that reads a foreign checkpoint


LIMITS = Limits()
