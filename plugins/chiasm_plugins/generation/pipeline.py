"""Reading a pipeline of diffusers from a local folder: safetensors alone, nothing fetched, none of its code run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from chiasm_registry import CheckpointError
from chiasm_registry.errors import shown, shown_path

INDEX = "model_index.json"
INDEX_BYTES = 2**20
LIBRARIES = frozenset({"diffusers", "transformers"})  # whose classes a pipeline may name


def read_pipeline(folder: str | Path, *, image_to_image: bool = False, dtype: torch.dtype = torch.float32) -> Any:
    """The text-to-image (or image-to-image) pipeline of a folder.

    CheckpointError if it is none, names classes outside diffusers and transformers (a folder's own code), or has
    weights in another form than safetensors. Nothing is fetched.
    """
    folder = Path(folder)
    _check_index(folder)
    from diffusers import AutoPipelineForImage2Image, AutoPipelineForText2Image

    kind: Any = AutoPipelineForImage2Image if image_to_image else AutoPipelineForText2Image
    try:
        with _quiet():
            pipeline = kind.from_pretrained(
                str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=dtype
            )
    except Exception as error:  # each library has its own way of saying what is wrong with a folder
        fact = f"is no pipeline that can be used: {shown(type(error).__name__, 40)}"
        raise CheckpointError(f"{shown_path(folder, 80)} {fact}; it must be whole, with safetensors weights") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _check_index(folder: Path) -> None:
    """Refuse a folder without an index, or whose index names code of its own."""
    path = folder / INDEX
    try:
        if path.stat().st_size > INDEX_BYTES:
            raise CheckpointError(f"{shown_path(path, 80)} is larger than {INDEX_BYTES} bytes")
        index = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise CheckpointError(f"{shown_path(folder, 80)} has no readable {INDEX}; give a pipeline's folder") from None
    named = index.get("_class_name") if isinstance(index, dict) else None
    if not isinstance(named, str):
        raise CheckpointError(f"{shown_path(path, 80)} names no pipeline of diffusers by _class_name")
    for part, entry in index.items():
        if isinstance(entry, list) and entry and entry[0] is not None and entry[0] not in LIBRARIES:
            fact = f"takes {shown(str(part), 40)} from {shown(repr(entry[0]), 40)}"
            raise CheckpointError(f"{shown_path(path, 80)} {fact}; only {' and '.join(sorted(LIBRARIES))} are used")


def prompt_width(pipeline: Any) -> int:
    """How wide the vectors are that the pipeline's network takes for words; a CheckpointError if it takes none."""
    network = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    config = getattr(network, "config", {})
    for key in ("cross_attention_dim", "caption_channels", "joint_attention_dim"):
        if isinstance(width := config.get(key), int):
            return width
    raise CheckpointError(f"{shown(type(pipeline).__name__, 60)} takes no prompt_embeds of a known width")


@contextmanager
def _quiet() -> Iterator[None]:
    """Both libraries draw bars while they load; inside they do not."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    shows = [library for library in (of_diffusers, of_transformers) if library.is_progress_bar_enabled()]
    for library in shows:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shows:
            library.enable_progress_bar()
