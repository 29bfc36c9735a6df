"""transformers' InternVL with what the official code does otherwise, each measured against it.

The older pixel shuffle, the epsilon of the query/key norms, and dynamic rotary positions that forget the last call.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import InternVLConfig, InternVLForConditionalGeneration, InternVLModel


class _Transposed(InternVLModel):  # type: ignore[misc]  # the library is not typed
    """With the pixel shuffle of the first version, whose grid lies on its side."""

    def pixel_shuffle(self, vision_features: Tensor, scale_factor: float = 0.5) -> Tensor:
        """(T, h, w, C) to (T, w * s, h * s, C / s^2)."""
        shuffled: Tensor = super().pixel_shuffle(vision_features, scale_factor)
        return shuffled.transpose(1, 2).contiguous()


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
        self._forget_lengths()

    def _forget_lengths(self) -> None:
        rotary: Any = getattr(self.model.language_model, "rotary_emb", None)
        if getattr(rotary, "rope_type", "") == "dynamic":
            rotary.register_forward_pre_hook(_forget)

    def restore_buffers(self) -> None:
        """Compute again what follows from the configuration, for a network that was built on the meta device."""
        language: Any = self.model.language_model
        language.rotary_emb = type(language.rotary_emb)(config=language.config)
        self._forget_lengths()

    def generate(self, inputs: Tensor | None = None, **options: Any) -> Any:
        """transformers' own; `pixel_values` may be None, for a text without an image."""
        if options.get("pixel_values", 0) is None:
            del options["pixel_values"]
        return super().generate(inputs, **options)


def _forget(rotary: nn.Module, _: object) -> None:
    """Each call scales by its own length: what an earlier, longer text left behind must not change a shorter one."""
    part: Any = rotary
    if part.max_seq_len_cached != part.original_max_seq_len:
        original = part.original_inv_freq.to(part.inv_freq.device)
        part.register_buffer("inv_freq", torch.clone(original), persistent=False)
        part.max_seq_len_cached = part.original_max_seq_len
