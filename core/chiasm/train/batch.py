"""A batch of items: tensors side by side, and what stays nested by image while those move to the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .items import NO_LABEL, Item
from .render import collate_plans


class Nested:
    """What stays as it is, nested by task and image, while a batch's tensors move to the device.

    `targets` and `phrases` are of what is judged, `judged` says of all routes of an image's row which those are.
    """

    def __init__(
        self,
        targets: Mapping[str, list[list[Any]]],
        phrases: Mapping[str, list[list[str]]],
        judged: Mapping[str, list[list[bool]]],
    ) -> None:
        self.targets, self.phrases, self.judged = targets, phrases, judged


def collate(items: Sequence[Item], pad: int, source: int) -> dict[str, Any]:
    """A batch: tensors of the views, padded rows (on the right, branch -1), and what stays nested by image."""
    rows = [item.row for item in items]
    longest = max(len(row.ids) for row in rows)
    views = [item.view for item in items if item.view is not None]
    return {
        "ids": [item.image_id for item in items],
        "view": collate_plans(views, source=source) if views else None,
        "tokens": _padded([row.ids for row in rows], longest, pad),
        "branch": _padded([row.branch for row in rows], longest, -1),
        "parent": _padded([row.parent for row in rows], longest, 0),
        "labels": _padded([row.labels for row in rows], longest, NO_LABEL),
        "asked": _padded([row.asked for row in rows], longest, False),
        "nested": Nested(
            {name: [item.targets[name] for item in items] for name in items[0].targets},
            {name: [item.phrases[name] for item in items] for name in items[0].phrases},
            {name: [item.judged[name] for item in items] for name in items[0].judged},
        ),
    }


def _padded(rows: Sequence[Sequence[int]], length: int, fill: int) -> Tensor:
    return torch.tensor([[*row, *[fill] * (length - len(row))] for row in rows])
