"""Grounding DINO (Liu et al. 2023) as transformers has it, behind chiasm's contract."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from chiasm_registry import Box, Boxes, PluginError, Route, Scene, ScoredBox
from torch import Tensor, nn

SHORT_SIDE, LONG_SIDE = 800, 1333  # pixels, as it was trained
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class GroundingDecoder(nn.Module):
    """The model stands in a list, so that it is neither saved with the task nor cast with the others."""

    def __init__(self, folder: str | None) -> None:
        super().__init__()
        self.folder, self.short_side = folder, SHORT_SIDE
        self._loaded: list[tuple[nn.Module, Any]] = []

    def model(self, device: torch.device) -> tuple[nn.Module, Any]:
        """The network and its tokenizer, read when they are first needed; never any code of the folder."""
        if not self._loaded:
            if self.folder is None or not Path(self.folder).is_dir():
                raise PluginError("set CHIASM_OPEN_DETECTOR to a folder with a Grounding DINO of transformers")
            from transformers import AutoTokenizer, GroundingDinoForObjectDetection

            local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
            network = GroundingDinoForObjectDetection.from_pretrained(self.folder, **local)
            self._loaded = [(network.eval().to(device), AutoTokenizer.from_pretrained(self.folder, **local))]
        return self._loaded[0]

    @torch.no_grad()
    def decode(self, scene: Scene, routes: Sequence[Route]) -> Sequence[Boxes]:
        """All phrases in one caption, "a cat. a dog."; a box's score for a phrase is that of its surest word."""
        if not routes:
            return []
        network, tokenizer = self.model(scene.maps[0].device)
        phrases = [route.phrase.lower().rstrip(". ") for route in routes]
        caption = " ".join(f"{phrase}." for phrase in phrases)
        words = tokenizer(caption, return_tensors="pt", return_offsets_mapping=True, truncation=True, max_length=256)
        offsets = words.pop("offset_mapping")[0].tolist()
        pixels = self._pixels(scene)
        found = network(pixel_values=pixels, **words.to(pixels.device))
        scores = found.logits[0].float().sigmoid()  # (queries, words)
        height, width = scene.size_hw
        half = found.pred_boxes[0, :, 2:].float() / 2
        corners = torch.cat([found.pred_boxes[0, :, :2] - half, found.pred_boxes[0, :, :2] + half], 1).clamp(0, 1)
        boxes = (corners * corners.new_tensor([width, height, width, height])).tolist()
        answers, begin = [], 0
        for route, phrase in zip(routes, phrases, strict=True):
            end = begin + len(phrase)
            mine = [k for k, (start, stop) in enumerate(offsets) if start < stop and begin <= start and stop <= end]
            best = scores[:, mine].amax(1).tolist() if mine else [0.0] * len(boxes)
            answers.append(_boxes(boxes, best, route.options.threshold, route.options.max_objects))
            begin = end + 2  # ". "
        return answers

    def _pixels(self, scene: Scene) -> Tensor:
        """(1, 3, h, w), normalised, in the proportions of the original."""
        height, width = scene.size_hw
        scale = min(self.short_side / min(height, width), LONG_SIDE / max(height, width))
        size = max(32, round(height * scale)), max(32, round(width * scale))
        view = scene.pixels(max(size))[None].float()
        shaped = F.interpolate(view, size=size, mode="bilinear", align_corners=False, antialias=True)
        mean, std = (shaped.new_tensor(stat)[None, :, None, None] for stat in (MEAN, STD))
        return (shaped - mean) / std


def _boxes(boxes: Sequence[list[float]], scores: Sequence[float], threshold: float, limit: int) -> Boxes:
    sure = sorted((pair for pair in zip(scores, boxes, strict=True) if pair[0] >= threshold), reverse=True)
    return Boxes(
        items=tuple(ScoredBox(box=Box(xyxy=(x0, y0, x1, y1)), score=score) for score, (x0, y0, x1, y1) in sure[:limit])
    )
