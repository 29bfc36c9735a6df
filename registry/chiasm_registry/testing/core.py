"""A random core in memory, shaped as an InternVL: it sees a picture, hears a phrase, and has slots for a task.

Its numbers mean nothing, and all of them matter: slots depend on the picture, on the phrase and on the task's
embeddings, through a real vision tower and a real language model. Torch and transformers load when one is built.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from ..contract import CoreInfo, MapInfo, Route, Scene
from ..spec import TaskSpec

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image
    from torch import Tensor

WIDTH = 32  # D
TILE, PATCH = 56, 14
VIEW = 128  # pixels a side of the square that the pyramid stands on
PYRAMID = tuple(MapInfo(24 + 8 * k, 4 * 2**k) for k in range(5))  # strides 4 to 64, each with channels of its own
GRID = (MapInfo(WIDTH, PATCH),)
BYTES = 256
SPREAD = 0.3  # of the weights: large enough that every input shows in every output


class TinyCore:
    """The core; frozen. With `pyramid` a scene has five maps, without it one, as cores of both kinds exist."""

    def __init__(self, *, pyramid: bool = True, seed: int = 0) -> None:
        import torch
        from transformers import InternVLConfig, InternVLForConditionalGeneration

        self.pyramid = pyramid
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model: Any = InternVLForConditionalGeneration(InternVLConfig(**_configuration()))
            for parameter in self.model.parameters():
                if parameter.ndim > 1:
                    parameter.data.normal_(0.0, SPREAD)
            self._mixes = tuple(torch.randn(info.channels, 3) for info in PYRAMID)
        self.model.eval().requires_grad_(False)

    def info(self, dtype: torch.dtype | None = None) -> CoreInfo:
        """What a decoder is built from; the type is float32 unless another is named."""
        import torch

        return CoreInfo(WIDTH, PYRAMID if self.pyramid else GRID, dtype or torch.float32)

    def scene(self, picture: Image) -> Scene:
        """The picture as a decoder sees it; each call gives tensors of its own."""
        import torch

        with torch.no_grad():
            maps = self._pyramid(picture) if self.pyramid else (self._grid(picture),)
        return Scene((picture.height, picture.width), maps, lambda size: _view(picture, size))

    def vectors(self, spec: TaskSpec, seed: int = 0) -> Tensor:
        """(1 + K, D) the routing token's row and the task's embeddings, as they are before training."""
        import torch

        generator = torch.Generator().manual_seed(seed + sum(spec.name.encode()))
        return SPREAD * torch.randn(1 + spec.embeddings, WIDTH, generator=generator)

    def routes(
        self,
        spec: TaskSpec,
        picture: Image | None,
        phrases: Sequence[str],
        vectors: Tensor | None = None,
        options: Any = None,
    ) -> list[Route]:
        """One route a phrase; gradients flow from the slots to `vectors` if these want any."""
        import torch

        own = self.vectors(spec) if vectors is None else vectors
        embed = self.model.get_input_embeddings()
        seen = [] if picture is None else [self._tokens(picture)]
        routes = []
        for phrase in phrases:
            words = embed(torch.tensor(list(phrase.encode()) or [0]))
            hidden = self.model.model.language_model(
                inputs_embeds=torch.cat([*seen, words, own])[None], use_cache=False
            ).last_hidden_state[0]
            routes.append(Route(spec.name, phrase, hidden[-spec.embeddings :], own[1:], options=options))
        return routes

    def _tokens(self, picture: Image) -> Tensor:
        """(N, D) image tokens."""
        model = self.model.model
        grid = self._grid(picture).permute(1, 2, 0)[None]
        shuffled = model.pixel_shuffle(grid, scale_factor=self.model.config.downsample_ratio).flatten(1, 2)
        tokens: Tensor = model.multi_modal_projector(shuffled)[0]
        return tokens

    def _grid(self, picture: Image) -> Tensor:
        """(D, h, w) the vision tower's patches."""
        hidden = self.model.model.vision_tower(pixel_values=_view(picture, TILE)[None] * 4 - 2).last_hidden_state
        side = TILE // PATCH
        grid: Tensor = hidden[0, 1:].reshape(side, side, -1).permute(2, 0, 1)
        return grid.clone()

    def _pyramid(self, picture: Image) -> tuple[Tensor, ...]:
        """Maps (C, h, w): mixed colours of the view, averaged over their strides."""
        import torch
        import torch.nn.functional as F

        view = _view(picture, VIEW)[None] - 0.5
        pooled = (F.avg_pool2d(view, info.stride)[0] for info in PYRAMID)
        pairs = zip(self._mixes, pooled, strict=True)
        return tuple(torch.einsum("ck,khw->chw", mix, colours).clone() for mix, colours in pairs)


@cache
def tiny_core(*, pyramid: bool = True, seed: int = 0) -> TinyCore:
    """A core of this kind, built once a process; it is frozen, so that all may share it."""
    return TinyCore(pyramid=pyramid, seed=seed)


def _configuration() -> dict[str, Any]:
    vision = {
        "image_size": TILE,
        "patch_size": PATCH,
        "hidden_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 2 * WIDTH,
        "layer_scale_init_value": 1.0,
    }
    text = {
        "model_type": "qwen2",
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 2 * WIDTH,
        "vocab_size": BYTES,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }
    return {"vision_config": vision, "text_config": text, "downsample_ratio": 0.5, "image_token_id": BYTES - 1}


def _view(picture: Image, size: int) -> Tensor:
    """(3, size, size) in 0..1: the whole picture stretched to a square."""
    import numpy as np
    import torch
    from PIL.Image import Resampling

    stretched = picture.convert("RGB").resize((size, size), Resampling.BILINEAR)
    return torch.from_numpy(np.array(stretched)).permute(2, 0, 1).float() / 255
