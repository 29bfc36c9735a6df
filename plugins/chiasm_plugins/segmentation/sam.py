"""segment-anything's modules (Kirillov et al., Segment Anything, 2023), and the two that we extend.

The one place that imports the package. Its `__init__` wants torchvision, which has no build for some of the machines
we run on; its models do not. So they are imported beneath a bare parent module, which is taken away again, that a
later `import segment_anything` finds the package as it is.

Letters: N prompts, T tokens of a prompt, C channels of the transformer, g side of the grid that a prompt sees.
"""

from __future__ import annotations

import math
import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from chiasm_registry import PluginError
from torch import Tensor, nn

from .regions import middles

PACKAGE = "segment_anything"
GAP, OUT, IN, UPPER_LEFT, LOWER_RIGHT = -1, 0, 1, 2, 3  # what a coordinate of a prompt is; SAM's own numbers


def _submodules(*names: str) -> list[ModuleType]:
    """Modules of the package, imported without running its `__init__`."""
    if PACKAGE in sys.modules:
        return [import_module(f"{PACKAGE}.{name}") for name in names]
    spec = find_spec(PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        raise PluginError("segmentation needs the package segment-anything; install it with pip")
    parent = ModuleType(PACKAGE)
    parent.__path__ = list(spec.submodule_search_locations)
    sys.modules[PACKAGE] = parent
    try:
        return [import_module(f"{PACKAGE}.{name}") for name in names]
    finally:
        del sys.modules[PACKAGE]


_modeling, _build = _submodules("modeling", "build_sam")
PromptEncoder: Any = _modeling.PromptEncoder
MaskDecoder: Any = _modeling.MaskDecoder
TwoWayTransformer: Any = _modeling.TwoWayTransformer
ImageEncoderViT: Any = _modeling.ImageEncoderViT
Sam: Any = _modeling.Sam
variants: dict[str, Any] = _build.sam_model_registry


class Prompts(PromptEncoder):  # type: ignore[misc]  # the package is not typed
    """SAM's prompt encoder for prompts of mixed kinds in one batch; a box is its two corners, as in SAM's export."""

    def __init__(self, channels: int, grid: int, side: int) -> None:
        """A prompt's frame has `side` units each way, seen as a grid of `grid` cells."""
        super().__init__(channels, (grid, grid), (side, side), mask_in_chans=16)
        matrix = self.pe_layer.positional_encoding_gaussian_matrix
        matrix.copy_(matrix.bfloat16())  # so that a stored model has exactly the waves it was trained with
        self.mask_downscaling.requires_grad_(False)  # masks are no prompts here; kept for SAM's names

    def tokens(self, places: Tensor, kinds: Tensor) -> Tensor:
        """(N, T, C) of `places` (N, T, 2), x and y in the frame's units, and `kinds` (N, T); gaps say nothing."""
        table = torch.stack([self.not_a_point_embed.weight[0], *(e.weight[0] for e in self.point_embeddings)])
        waves = self.waves(places) * (kinds != GAP)[..., None]
        return waves + table[kinds + 1]

    def waves(self, places: Tensor) -> Tensor:
        """(..., C): the positional encoding of `places` (..., 2), as SAM's, but in full precision everywhere."""
        with torch.autocast(places.device.type, enabled=False):
            unit = 2 * places.float() / self.input_image_size[0] - 1
            turns = 2 * math.pi * (unit @ self.pe_layer.positional_encoding_gaussian_matrix.float())
            return torch.cat([turns.sin(), turns.cos()], -1)

    def grid_waves(self) -> Tensor:
        """(1, C, g, g): the positional encoding of the grid's cells."""
        side = float(self.input_image_size[0])
        frame = torch.tensor([0.0, 0.0, side, side], device=self.no_mask_embed.weight.device)
        return self.waves(middles(frame, self.image_embedding_size[0])).permute(2, 0, 1)[None]


class FineMaskDecoder(MaskDecoder):  # type: ignore[misc]
    """SAM's mask decoder where every prompt has a grid of its own and finer features join the upscaling path.

    The fine features come in as in SAM 2 (Ravi et al., 2024); a small convolution behind each lets them be weighed by
    what the transformer found.
    """

    def __init__(self, channels: int, heads: int, mlp: int) -> None:
        transformer = TwoWayTransformer(depth=2, embedding_dim=channels, num_heads=heads, mlp_dim=mlp)
        super().__init__(transformer_dim=channels, transformer=transformer, iou_head_hidden_dim=channels)
        self.mix4 = _mix(channels // 4)
        self.mix2 = _mix(channels // 8)

    def masks(self, grids: Tensor, waves: Tensor, tokens: Tensor, fine: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (N, 4, 4g, 4g) and predicted IoU (N, 4): the first mask is the answer, the others rival readings.

        `grids` (N, C, g, g), `waves` (1, C, g, g), `tokens` (N, T, C), `fine` (N, C/4, 2g, 2g), (N, C/8, 4g, 4g).
        """
        n, c, h, w = grids.shape
        own = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(n, -1, -1)
        out, seen = self.transformer(grids, waves.expand(n, -1, -1, -1), torch.cat([own, tokens], 1))
        up4, norm, act4, up2, act2 = self.output_upscaling
        x = act4(norm(up4(seen.transpose(1, 2).reshape(n, c, h, w)) + fine[0]))
        x = act2(up2(x + self.mix4(x)) + fine[1])
        x = x + self.mix2(x)
        asked = [mlp(out[:, 1 + k]) for k, mlp in enumerate(self.output_hypernetworks_mlps)]
        logits = torch.einsum("nkc,nchw->nkhw", torch.stack(asked, 1), x)
        return logits, self.iou_prediction_head(out[:, 0])


def _mix(channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.GELU(), nn.Conv2d(channels, channels, 1))
