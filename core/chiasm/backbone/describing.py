"""From a key of `config.json` to transformers' own configuration, and to the design that is built from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from chiasm_registry import CheckpointError

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
