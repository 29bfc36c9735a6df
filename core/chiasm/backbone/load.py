"""`load_backbone`: a vision-language model from a folder, as transformers' own class, without tasks."""

from __future__ import annotations

import os

import torch
from chiasm_registry.errors import CheckpointError, InputError, shown_path

from ..checkpoint.files import folder_path
from ..text.shipped import shipped_image_id
from .build import put
from .device import device_of, dtype_of
from .official.config import is_official
from .official.folder import open_official, read_config
from .official.network import OfficialInternVL


def load_backbone(
    path: str | os.PathLike[str],
    *,
    dtype: torch.dtype | str | None = None,
    device: str | torch.device = "cpu",
    image_token_id: int | None = None,
    follow_links: bool = False,
) -> OfficialInternVL:
    """The model in an official InternVL2 folder, ready to be called.

    `model(input_ids=, pixel_values=, attention_mask=, output_hidden_states=True)` and `model.generate` are
    transformers' own; give `generate` the `eos_token_id` that ends an answer, there is none by itself. `dtype` is
    torch's or its name; None is float32 on a CPU and bfloat16 elsewhere. The id of `<IMG_CONTEXT>` is looked up in the
    folder's tokenizer, which is not loaded, unless it is given. Raises `CheckpointError`, of an argument `InputError`.
    """
    root, where = folder_path(path), device_of(device)
    kind = dtype_of(dtype, on_cpu=where.type == "cpu")
    raw = read_config(root, follow_links=follow_links)
    if not is_official(raw):
        raise CheckpointError(f"'{shown_path(root)}' is no official InternVL2 folder")
    folder = open_official(root, raw, follow_links=follow_links)
    image, rows = image_token_id, folder.config.internvl["text_config"]["vocab_size"]
    if image is None:
        image = shipped_image_id(root, rows, follow_links=follow_links)
    elif type(image) is not int or not 0 <= image < rows:
        raise InputError(f"image_token_id must be a whole number from 0 to {rows - 1}; without it it is looked up")
    with torch.inference_mode(False):  # nor to the weights
        model = folder.network(image)
        put(model, folder.tensors, kind, where)
        model.tie_weights()
        model.generation_config.eos_token_id = None  # the official chat names the one that ends its template
        model.to(where).eval()
    return model
