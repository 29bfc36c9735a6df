"""From a key of `config.json` to transformers' own configuration, and to the design that is built from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from chiasm_registry import CheckpointError
from chiasm_registry.errors import shown

D = TypeVar("D")


def described(config: Mapping[str, Any], key: str, kind: Callable[..., Any], build: Callable[[Any], D]) -> D:
    """What `build` makes of the configuration under `key`; anything that goes wrong is a `CheckpointError`."""
    try:
        own = kind(**config[key])
        own._attn_implementation = "sdpa"  # never what a file says
        return build(own)
    except CheckpointError:
        raise
    except Exception as error:  # the libraries raise many kinds, and quote the whole configuration
        raise CheckpointError(
            f"config.json does not describe a model of this design that can be built; look at its key '{key}'"
        ) from error


def check_layers(layers: Sequence[Any], vision: Any) -> None:
    """Refuse layers that a vision model has not got; layer 0 is what its first one reads."""
    most = vision.num_hidden_layers
    wrong = [layer for layer in layers if type(layer) is not int or not -most - 1 <= layer <= most]
    if wrong or not layers:
        said = shown(repr(wrong[0]) if wrong else "empty", 40)
        raise CheckpointError(
            f"config.json: vision_feature_layer is {said}; a layer is a whole number from {-most - 1} to {most}"
        )
