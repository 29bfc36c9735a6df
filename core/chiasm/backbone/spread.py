"""A large model over several devices, or with its weights in 8 or 4 bits: transformers and accelerate do it.

They are handed tensors that are still on the disk, so that a weight is read, placed and made smaller one at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from chiasm_registry.errors import InputError, shown
from torch import Tensor
from transformers.utils import logging

from ..checkpoint.later import Later
from .build import internvl_config
from .official.network import OfficialInternVL

_DOES_NOT_FIT = "does not fit the devices and the memory that were given"

BITS = ("8bit", "4bit")
_WHOLE = ("lm_head", "multi_modal_projector")  # small, and what they say is heard at once


def spread_internvl(
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor | Later],
    dtype: torch.dtype,
    *,
    device_map: str | Mapping[str, Any],
    max_memory: Mapping[Any, Any] | None = None,
    quantize: str | None = None,
) -> OfficialInternVL:
    """The network of chiasm's `config.json` with these tensors, placed as accelerate's `device_map` says.

    Raises `InputError` when it does not fit into `max_memory`, or the library for `quantize` is not there.
    """
    if quantize is not None and quantize not in BITS:
        raise InputError(f"quantize is {shown(repr(quantize), 20)}; it must be {' or '.join(map(repr, BITS))}, or None")
    options: dict[str, Any] = {"device_map": device_map, "dtype": dtype, "attn_implementation": "sdpa"}
    if max_memory is not None:
        options["max_memory"] = dict(max_memory)
    made: Any
    bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        if quantize is not None:
            options["quantization_config"] = _quantization(quantize, dtype, device_map)
        made = OfficialInternVL.from_pretrained(
            None, config=internvl_config(config), state_dict=dict(tensors), **options
        )
    except ImportError:
        raise InputError(f"quantize={quantize!r} needs a library: pip install 'chiasm[quantize]'") from None
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        fact = _DOES_NOT_FIT if quantize is None else f"cannot be made {quantize} here"
        raise InputError(f"the model {fact}; give device_map='cpu', more max_memory, or another quantize") from error
    finally:
        if bar:
            logging.enable_progress_bar()
    if "disk" in set(getattr(made, "hf_device_map", {}).values()):
        raise InputError("the model does not fit into max_memory; weights are not left on the disk")
    network: OfficialInternVL = made
    return network


def _quantization(bits: str, dtype: torch.dtype, device_map: str | Mapping[str, Any]) -> Any:
    """bitsandbytes' configuration for a GPU, torchao's for a CPU's 8 bits."""
    from transformers import BitsAndBytesConfig, TorchAoConfig

    on_cpu = device_map == "cpu" or not torch.cuda.is_available()
    if bits == "8bit" and on_cpu:
        from torchao.quantization import Int8WeightOnlyConfig

        return TorchAoConfig(Int8WeightOnlyConfig(), modules_to_not_convert=list(_WHOLE))
    if bits == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=list(_WHOLE))
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(_WHOLE),
    )
