"""A peer that answers the same question: transformers' Grounding DINO tiny (Liu et al. 2023), with random weights.

Time does not depend on the values of weights, so nothing is downloaded. Only its forward pass is measured: reading
the photograph, the text and its answer come on top for whoever uses it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

CLS, SEP, STOP = 101, 102, 1012  # of BERT's vocabulary; every other word is one id, whichever
FIRST_WORD = 2000
SHORT_SIDE, LONG_SIDE = 800, 1333  # as its processor resizes
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class GroundingDino:
    """The model, the photograph and the names as it wants them: "cat. dog. potted plant."."""

    def __init__(self, picture: Image.Image, names: Sequence[str], config: GroundingDinoConfig | None = None) -> None:
        config = GroundingDinoConfig() if config is None else config  # the default is the tiny one, on Swin-T
        config.disable_custom_kernels = True  # plain torch, as on any machine without its CUDA operator
        self.model = GroundingDinoForObjectDetection(config).eval().requires_grad_(False)
        self.pixels = pixels(picture)
        self.ids = torch.tensor([text_ids(names)])

    @torch.inference_mode()
    def __call__(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Boxes (1, queries, 4) and logits (1, queries, text)."""
        out = self.model(pixel_values=self.pixels, input_ids=self.ids, attention_mask=torch.ones_like(self.ids))
        return out.pred_boxes, out.logits


def pixels(picture: Image.Image) -> torch.Tensor:
    """(1, 3, h, w): the shorter side 800, the longer at most 1333."""
    scale = min(SHORT_SIDE / min(picture.size), LONG_SIDE / max(picture.size))
    resized = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BILINEAR)
    values = (np.asarray(resized, np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return torch.from_numpy(values).permute(2, 0, 1)[None]


def text_ids(names: Sequence[str]) -> list[int]:
    """One id a word and one a full stop behind each name."""
    words = {word: FIRST_WORD + k for k, word in enumerate(dict.fromkeys(" ".join(names).split()))}
    return [CLS, *(i for name in names for i in [*(words[word] for word in name.split()), STOP]), SEP]
