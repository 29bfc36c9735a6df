"""From a route's logits to its output: masks of the original image, cleaned, with a tight box and a score."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from chiasm_registry import Masks, Route, ScoredMask
from torch import Tensor

from .asking import Ask, Four
from .cleaning import clean
from .regions import around
from .runs import as_mask, enlarged


def answer(
    route: Route,
    asks: Sequence[Ask],
    logits: Tensor,
    quality: Tensor,
    regions: Sequence[Four],
    size_hw: tuple[int, int],
) -> Masks:
    """The masks of one route in the order of its prompts; of a phrase alone only what reaches the threshold.

    `logits` (n, 4, g, g) lie over `regions`, xyxy in pixels of the original; `quality` (n, 4) are the predicted IoUs. A
    score is the predicted IoU times how sure the prompt itself was.
    """
    several = route.options is not None and route.options.multimask
    threshold = route.options.threshold if route.options is not None else 0.0
    items = []
    for k, ask in enumerate(asks):
        ranked = (1 + quality[k, 1:].argsort(descending=True)).tolist() if several else [0]
        for rank, choice in enumerate(ranked):
            score = ask.given * float(quality[k, choice].clamp(0, 1))
            alone = ask.box is None and not ask.places
            if alone and (score < threshold or not bool((logits[k, choice] > 0).any())):
                continue
            edges = enlarged(torch.from_numpy(clean(logits[k, choice].numpy())), regions[k], size_hw)
            mask = as_mask(edges, size_hw)
            items.append(ScoredMask(mask=mask, score=score, box=mask.box(), of=ask.of if rank == 0 else None))
    return Masks(items=tuple(items))


def regions_of(asks: Sequence[Ask], size_hw: tuple[int, int], view: int) -> list[Four]:
    """Where the small decoder's logits lie, in pixels of the original."""
    whole = (0.0, 0.0, float(view), float(view))
    scale = torch.tensor([size_hw[1] / view, size_hw[0] / view] * 2)
    boxes = [whole if ask.box is None else tuple(around(torch.tensor(ask.box)).tolist()) for ask in asks]
    return [tuple((torch.tensor(box) * scale).tolist()) for box in boxes]
