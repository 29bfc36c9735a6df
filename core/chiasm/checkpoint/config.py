"""`config.json` before anything is built from it: keys that would load code are refused, sizes stay within ranges."""

from __future__ import annotations

from typing import Any

from chiasm_registry.errors import CheckpointError, shown

_CODE = ("auto_map", "custom_pipelines", "custom_generate", "trust_remote_code", "quantization_config")
_CODE_PREFIX = "_attn_implementation"
_RANGES = {
    "vocab_size": (1, 2**22),
    "hidden_size": (1, 2**16),
    "intermediate_size": (1, 2**20),
    "num_hidden_layers": (0, 512),
    "num_attention_heads": (1, 1024),
    "num_key_value_heads": (1, 1024),
    "head_dim": (1, 2**14),
    "num_channels": (1, 64),
    "patch_size": (1, 1024),
    "image_size": (1, 2**14),
    "max_position_embeddings": (1, 2**24),
    "max_new_tokens": (1, 2**20),
}
_RATES = ("dropout", "dropout_prob", "pdrop", "layerdrop", "drop_path_rate")  # how keys of probabilities end


def check_config(config: dict[str, Any], name: str) -> None:
    """Raises `CheckpointError` that names the key; looks into nested objects and lists."""
    for key, value in config.items():
        if key in _CODE or (key.startswith(_CODE_PREFIX) and value is not None):
            raise CheckpointError(f"{name} has the key '{shown(key, 60)}', which may load code; it is not allowed here")
        if key in _RANGES and value is not None:
            _check_range(key, value, name)
        if key.endswith(_RATES) and not (value is None or (type(value) in (int, float) and 0 <= value <= 1)):
            said = f"{shown(key, 60)} is {shown(repr(value), 40)}"
            raise CheckpointError(f"{name}: {said}; it must be a number from 0 to 1")
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, dict):
                check_config(inner, name)


def _check_range(key: str, value: Any, name: str) -> None:
    low, high = _RANGES[key]
    for number in value if isinstance(value, list) else [value]:
        if type(number) is not int or not low <= number <= high:
            raise CheckpointError(
                f"{name}: {key} is {shown(number, 40)}; it must be a whole number from {low} to {high}"
            )
