"""From a route's logits to its output: masks of the original image, cleaned, with a tight box and a score."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from chiasm_registry import Masks, Route, ScoredMask

from .asking import Ask, Four
from .cleaning import clean
from .closer import Part
from .regions import around
from .runs import as_mask, enlarged, united

Region = Callable[[Part], Four]  # where a part's logits lie, xyxy in pixels of the original


def answer(
    route: Route, asks: Sequence[Ask], parts: Sequence[Sequence[Part]], region: Region, size_hw: tuple[int, int]
) -> Masks:
    """The masks of one route in the order of its prompts; of a phrase alone only what reaches the threshold.

    `parts` are what each prompt's mask is made of. A score is the predicted IoU times how sure the prompt itself was.
    """
    several = route.options is not None and route.options.multimask
    threshold = route.options.threshold if route.options is not None else 0.0
    items = []
    for ask, own in zip(asks, parts, strict=True):
        quality = torch.stack([part.quality for part in own]).mean(0)
        ranked = (1 + quality[1:].argsort(descending=True)).tolist() if several else [0]
        for rank, choice in enumerate(ranked):
            score = ask.given * float(quality[choice].clamp(0, 1))
            alone = ask.box is None and not ask.places
            if alone and (score < threshold or not any(bool((part.logits[choice] > 0).any()) for part in own)):
                continue
            drawn = [enlarged(_cleaned(part, choice), region(part), size_hw) for part in own]
            mask = as_mask(united(drawn), size_hw)
            items.append(ScoredMask(mask=mask, score=score, box=mask.box(), of=ask.of if rank == 0 else None))
    return Masks(items=tuple(items))


def _cleaned(part: Part, choice: int) -> torch.Tensor:
    return torch.from_numpy(clean(part.logits[choice].numpy()))


def region_in(size_hw: tuple[int, int], view: int) -> Region:
    """Where the small decoder's logits lie."""
    scale = (size_hw[1] / view, size_hw[0] / view) * 2

    def region(part: Part) -> Four:
        whole = (0.0, 0.0, float(view), float(view))
        box = whole if part.box is None else around(torch.tensor(part.box)).tolist()
        x0, y0, x1, y1 = (edge * factor for edge, factor in zip(box, scale, strict=True))
        return x0, y0, x1, y1

    return region
