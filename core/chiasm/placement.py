"""Where a model goes when it is loaded, and of which numbers it is made: one device, several, or fewer bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from chiasm_registry import InputError

from .backbone.build import put
from .backbone.device import device_of, dtype_of
from .backbone.internvl import InternVL
from .backbone.spread import spread_internvl
from .checkpoint import Checkpoint
from .options import told
from .routing.network import Network
from .source import CORE_PREFIX


@dataclass(frozen=True)
class Placement:
    """What the caller of `chiasm.load` said of it, checked."""

    device: torch.device
    dtype: torch.dtype
    device_map: str | Mapping[str, Any] | None = None
    max_memory: Mapping[Any, Any] | None = None
    quantize: str | None = None
    progress: Callable[[int, int], None] | None = None  # bytes read, bytes in all

    @classmethod
    def of(cls, device: object, dtype: object, device_map: str | Mapping[str, Any] | None, **more: Any) -> Placement:
        """Without a dtype it is float32 on a CPU and bfloat16 elsewhere."""
        where = device_of(device)
        if device_map is not None and where.type != "cpu":
            raise InputError("device and device_map both say where the model goes; give one")
        if more.get("max_memory") is not None and device_map is None:
            raise InputError("max_memory says how far device_map may go; give one, as 'auto'")
        if not (more.get("progress") is None or callable(more["progress"])):
            raise InputError(f"progress is {told(more['progress'])}; it must be a function of bytes read and in all")
        on_cpu = where.type == "cpu" and (device_map is None or not torch.cuda.is_available())
        return cls(where, dtype_of(dtype, on_cpu=on_cpu), device_map, **more)

    def fill(self, network: Network, checkpoint: Checkpoint) -> torch.device:
        """Put the checkpoint's core into the network; the device where everything else belongs."""
        if self.device_map is None and self.quantize is None:
            put(network.backbone_module, checkpoint.core, self.dtype, self.device, self.progress)
            network.backbone_module.to(self.device)  # its buffers; they keep their type: rotary frequencies need it
            return self.device
        config, backbone = checkpoint.config, network.backbone_module
        if config.get("trunk", False) or not isinstance(backbone, InternVL):
            raise InputError("device_map and quantize are for InternVL without a trunk; leave them out for this model")
        core = {name.removeprefix(CORE_PREFIX): tensor for name, tensor in checkpoint.core.items()}
        backbone.internvl = spread_internvl(
            config,
            core,
            self.dtype,
            device_map=self.device_map or str(self.device),
            max_memory=self.max_memory,
            quantize=self.quantize,
        )
        return backbone.matrices()[0].device
