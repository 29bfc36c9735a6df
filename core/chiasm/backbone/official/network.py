"""transformers' InternVL with what the official code does otherwise, each measured against it.

The older pixel shuffle, the epsilon of the query/key norms, and rotary positions that keep nothing of the last call.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import InternVLConfig, InternVLForConditionalGeneration, InternVLModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from ..language import steady_length


class _Transposed(InternVLModel):  # type: ignore[misc]  # the library is not typed
    """With the pixel shuffle of the first version, whose grid lies on its side."""

    def pixel_shuffle(self, vision_features: Tensor, scale_factor: float = 0.5) -> Tensor:
        """(T, h, w, C) to (T, w * s, h * s, C / s^2)."""
        shuffled: Tensor = super().pixel_shuffle(vision_features, scale_factor)
        return shuffled.transpose(1, 2).contiguous()


class _OwnLengthRotaryEmbedding(LlamaRotaryEmbedding):  # type: ignore[misc]
    """Rotary positions whose scale follows the length of a text (dynamic NTK, longrope), for any language model.

    transformers leaves the frequencies of a pass in a buffer, which the passes of other threads would read.
    """

    @torch.no_grad()
    def forward(self, x: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines (B, L, d) for positions (B, L), in the type of `x`."""
        length, frequencies = int(position_ids.max()) + 1, self.original_inv_freq
        if length > steady_length(self.config):
            frequencies, _ = ROPE_INIT_FUNCTIONS[self.rope_type](self.config, x.device, seq_len=length)
        half = position_ids[..., None].float() * frequencies.to(x.device, torch.float)  # (B, L, d / 2)
        angles = torch.cat([half, half], -1)
        cosines, sines = angles.cos() * self.attention_scaling, angles.sin() * self.attention_scaling
        return cosines.to(x.dtype), sines.to(x.dtype)


class OfficialInternVL(InternVLForConditionalGeneration):  # type: ignore[misc]
    """An InternVL that computes what the official code computes.

    `config.ps_version` "v1" is the older pixel shuffle; without it the newer one is taken.
    """

    def __init__(self, config: InternVLConfig) -> None:
        super().__init__(config)
        if getattr(config, "ps_version", "v2") == "v1":
            self.model.__class__ = _Transposed
        for module in self.model.vision_tower.modules():
            for name in ("q_norm", "k_norm"):
                if hasattr(getattr(module, name, None), "variance_epsilon"):
                    getattr(module, name).variance_epsilon = config.vision_config.layer_norm_eps
        language: Any = self.model.language_model
        if language.config.rope_parameters["rope_type"] in ("dynamic", "longrope"):
            language.rotary_emb = _OwnLengthRotaryEmbedding(config=language.config)

    def restore_buffers(self) -> None:
        """Compute again what follows from the configuration, for a network that was built on the meta device."""
        language: Any = self.model.language_model
        language.rotary_emb = type(language.rotary_emb)(config=language.config)

    def generate(self, inputs: Tensor | None = None, **options: Any) -> Any:
        """transformers' own; `pixel_values` may be None, for a text without an image."""
        if options.get("pixel_values", 0) is None:
            del options["pixel_values"]
        return super().generate(inputs, **options)
