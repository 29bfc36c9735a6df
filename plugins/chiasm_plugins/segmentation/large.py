"""A whole published SAM in place of the small decoder: its own image encoder, its own preprocessing, boxes and points.

It knows no words: a phrase needs boxes, which detection finds. Frames: SAM's input is the upright image with its longer
side at `size` pixels, padded on the right and below; its logits cover that square.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from chiasm_registry import CheckpointError, InputError, Scene
from torch import Tensor, nn

from .asking import Ask, Four
from .sam import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer, variants

PREFIX = "large."
PUBLISHED = {(12, 768): "vit_b", (24, 1024): "vit_l", (32, 1280): "vit_h"}  # by blocks and width
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
HEADS = 8  # of the mask decoder's transformer; no tensor tells it

Shapes = Mapping[str, tuple[int, ...]]


class Large(nn.Module):
    """SAM's three parts, named as in its checkpoints."""

    def __init__(self, shapes: Shapes) -> None:
        super().__init__()
        sam = _built(shapes)
        self.image_encoder, self.prompt_encoder = sam.image_encoder, sam.prompt_encoder
        self.mask_decoder = sam.mask_decoder
        self.size = int(sam.image_encoder.img_size)

    def _apply(self, fn: Any, recurse: bool = True) -> Large:
        """To another device or type; the waves of places stay float32, as SAM multiplies them with floats."""
        layer = self.prompt_encoder.pe_layer
        waves = layer.positional_encoding_gaussian_matrix
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        layer.positional_encoding_gaussian_matrix = waves.to(layer.positional_encoding_gaussian_matrix.device)
        return self

    def see(self, scene: Scene) -> Tensor:
        """(1, C, g, g): the image's embedding, made at the first call."""
        if "large" not in scene.memo:
            pixels = scene.pixels(self.size)
            scene.memo["large"] = self.image_encoder(self.prepared(pixels, scene.size_hw)[None])
        seen: Tensor = scene.memo["large"]
        return seen

    def prepared(self, pixels: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """SAM's input (3, size, size) of a whole image (3, size, size) in 0..1 that was stretched from `size_hw`."""
        height, width = self.input_hw(size_hw)
        shrunk = F.interpolate(pixels[None].float(), (height, width), mode="bilinear", antialias=True)[0]
        mean, std = (pixels.new_tensor(stat).view(3, 1, 1) for stat in (MEAN, STD))
        normal = (shrunk * 255 - mean.float()) / std.float()
        return F.pad(normal, (0, self.size - width, 0, self.size - height)).to(pixels.dtype)

    def answered(self, scene: Scene, asks: Sequence[Ask], view: int) -> tuple[Tensor, Tensor]:
        """Logits (n, 4, s, s) over `region`, and predicted IoU (n, 4), float32 on the CPU; asks in pixels of `view`."""
        seen, found = self.see(scene), []
        height, width = self.input_hw(scene.size_hw)
        scale = (width / view, height / view)
        for ask in asks:
            if ask.box is None and not ask.places:
                raise InputError("these weights of segmentation know no words; ask for detection, too, or give boxes")
            sparse, dense = self._prompt(ask, scale, seen)
            waves = self.prompt_encoder.get_dense_pe().to(seen.dtype)
            found.append(
                self.mask_decoder.predict_masks(
                    image_embeddings=seen,
                    image_pe=waves,
                    sparse_prompt_embeddings=sparse.to(seen.dtype),
                    dense_prompt_embeddings=dense.to(seen.dtype),
                )
            )
        if not found:
            return torch.zeros(0, 4, 1, 1), torch.zeros(0, 4)
        return torch.cat([f[0] for f in found]).float().cpu(), torch.cat([f[1] for f in found]).float().cpu()

    def _prompt(self, ask: Ask, scale: tuple[float, float], seen: Tensor) -> tuple[Tensor, Tensor]:
        places = torch.tensor([[x * scale[0], y * scale[1]] for x, y, _ in ask.places], device=seen.device)
        labels = torch.tensor([float(kind) for _, _, kind in ask.places], device=seen.device)
        box = None
        if ask.box is not None:
            x0, y0, x1, y1 = ask.box
            box = torch.tensor([[x0 * scale[0], y0 * scale[1], x1 * scale[0], y1 * scale[1]]], device=seen.device)
        points = (places[None], labels[None]) if ask.places else None
        both: tuple[Tensor, Tensor] = self.prompt_encoder(points=points, boxes=box, masks=None)
        return both

    def input_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """The image's height and width in SAM's input, rounded as SAM rounds."""
        scale = self.size / max(size_hw)
        return int(size_hw[0] * scale + 0.5), int(size_hw[1] * scale + 0.5)

    def region(self, size_hw: tuple[int, int]) -> Four:
        """What the logits cover, in pixels of the original."""
        height, width = self.input_hw(size_hw)
        return 0.0, 0.0, self.size * size_hw[1] / width, self.size * size_hw[0] / height


def large_shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    """The shapes of a stored SAM by its own names; {} if it is the small decoder that is stored."""
    return {n.removeprefix(PREFIX): tuple(t.shape) for n, t in tensors.items() if n.startswith(PREFIX)}


def _built(shapes: Shapes) -> Sam:
    """A SAM of these shapes: a published variant by its registry, any other by what its tensors tell."""
    try:
        depth = 1 + max(int(name.split(".")[2]) for name in shapes if name.startswith("image_encoder.blocks."))
        width = shapes["image_encoder.patch_embed.proj.weight"][0]
        grid = shapes["image_encoder.pos_embed"][1]
        if (depth, width) in PUBLISHED and grid == 64:
            return variants[PUBLISHED[depth, width]](checkpoint=None)
        return _of_shapes(shapes, depth, width, grid)
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError("segmentation.safetensors: these are not the tensors of a SAM") from error


def _of_shapes(shapes: Shapes, depth: int, width: int, grid: int) -> Sam:
    patch = shapes["image_encoder.patch_embed.proj.weight"][-1]
    channels = shapes["prompt_encoder.no_mask_embed.weight"][1]
    reach = [shapes[f"image_encoder.blocks.{k}.attn.rel_pos_h"] for k in range(depth)]
    windows = [(rows + 1) // 2 for rows, _ in reach]
    encoder = ImageEncoderViT(
        img_size=grid * patch,
        patch_size=patch,
        embed_dim=width,
        depth=depth,
        num_heads=width // reach[0][1],
        mlp_ratio=shapes["image_encoder.blocks.0.mlp.lin1.weight"][0] / width,
        out_chans=channels,
        norm_layer=lambda size: nn.LayerNorm(size, eps=1e-6),
        use_rel_pos=True,
        window_size=min(windows),
        global_attn_indexes=tuple(k for k, window in enumerate(windows) if window == grid),
    )
    prompts = PromptEncoder(channels, (grid, grid), (grid * patch, grid * patch), mask_in_chans=16)
    mlp = shapes["mask_decoder.transformer.layers.0.mlp.lin1.weight"][0]
    transformer = TwoWayTransformer(depth=2, embedding_dim=channels, num_heads=HEADS, mlp_dim=mlp)
    hidden = shapes["mask_decoder.iou_prediction_head.layers.0.weight"][0]
    masks = MaskDecoder(transformer_dim=channels, transformer=transformer, iou_head_hidden_dim=hidden)
    return Sam(encoder, prompts, masks, list(MEAN), list(STD))
