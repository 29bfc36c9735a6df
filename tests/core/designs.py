"""Every design at tiny random size, in memory: a description as `config.json` has it, and a whole model."""

from __future__ import annotations

from typing import Any

import torch
from chiasm.assemble import assemble, markers_of
from chiasm.model import Model
from chiasm.text import TEMPLATES
from chiasm_registry import TaskTable
from core.tiny import WIDTH, description, fakes, tokenizer

CLIP = {
    "model_type": "clip_vision_model",
    "image_size": 56,
    "patch_size": 14,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "projection_dim": 24,
}


def language(kind: str) -> dict[str, Any]:
    """A language model of two layers over the tiny vocabulary."""
    size = {
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "vocab_size": tokenizer().size,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": kind == "opt",
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id")),
    }
    if kind == "opt":
        return {"model_type": kind, "ffn_dim": 64, "word_embed_proj_dim": WIDTH, **size}
    return {"model_type": kind, "intermediate_size": 64, "num_key_value_heads": 2, **size}


def _llava(key: str, text: str, **more: Any) -> dict[str, Any]:
    image = tokenizer().id_of("<IMG_CONTEXT>")
    sizes = {"vision_config": CLIP, "text_config": language(text), "image_token_index": image}
    return {"design": key, key: {**sizes, "tie_word_embeddings": False, **more}}


def _blip2(text: str) -> dict[str, Any]:
    vision = {
        "image_size": 56,
        "patch_size": 14,
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    queries = {
        "hidden_size": 20,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "encoder_hidden_size": 24,
        "cross_attention_frequency": 1,
        "vocab_size": 10,
    }
    whole = {"vision_config": vision, "qformer_config": queries, "text_config": language(text), "num_query_tokens": 5}
    image = tokenizer().id_of("<IMG_CONTEXT>")
    return {"design": "blip2", "blip2": {**whole, "image_token_index": image, "tie_word_embeddings": text == "opt"}}


def _qwen2_vl() -> dict[str, Any]:
    vision = {"depth": 2, "embed_dim": 24, "hidden_size": WIDTH, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14}
    text = {**language("qwen2_vl_text"), "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3]}}
    text["rope_parameters"]["rope_theta"] = 10000.0
    image = tokenizer().id_of("<IMG_CONTEXT>")
    whole = {"vision_config": vision, "text_config": text, "image_token_id": image, "tie_word_embeddings": False}
    return {"design": "qwen2_vl", "qwen2_vl": whole, "pixels": [28 * 28, 28 * 28 * 6], "map_side": 4}


DESIGNS: dict[str, dict[str, Any]] = {
    "InternVL": description(),
    "LLaVA": _llava("llava", "llama"),
    "LLaVA, linear": {**_llava("llava", "llama"), "connector": "linear"},
    "LLaVA-NeXT": _llava("llava_next", "mistral", image_grid_pinpoints=[[56, 112], [112, 56], [112, 112], [56, 168]]),
    "BLIP-2": _blip2("opt"),
    "MiniGPT-4": _blip2("llama"),
    "Qwen2-VL": _qwen2_vl(),
}


@torch.no_grad()
def design_model(name: str, *, seed: int = 0) -> Model:
    """A whole model of the design with the fake tasks, whose numbers are large enough to make a difference."""
    tasks = fakes()
    table = TaskTable.build(tasks)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = assemble(DESIGNS[name], table, {task.spec.name: task for task in tasks})
        for part, parameter in network.named_parameters():
            if part.endswith(".asking"):
                continue  # a task has no ear for requests until it is trained alone
            if part.startswith("rows.") or (part.startswith("backbone_module.") and parameter.ndim > 1):
                parameter.normal_(0.0, 0.3)
    words, template = tokenizer().with_tasks(table.tokens), TEMPLATES["nano"]
    return Model(
        network=network.eval().requires_grad_(False),
        table=table,
        tokenizer=words,
        template=template,
        markers=markers_of(words, template),
        instruction="Find what is named.",
    )
