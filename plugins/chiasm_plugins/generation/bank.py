"""Crops of things, cut from the photographs that pass by and kept on their device: many are drawn in each step."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .kinds import KINDS, PAINTED, UNSAID, colour_shares, prevailing
from .unet import LARGE

KEPT = LARGE + LARGE // 8  # pixels a side of a kept crop: room to shift
MARGIN = 1.25  # side of a crop over the longer side of its box
_YIQ = ((0.299, 0.587, 0.114), (0.596, -0.274, -0.322), (0.211, -0.523, 0.312))


@torch.no_grad()
def cut(views: Tensor, row: Tensor, boxes_xyxy: Tensor, stretch: Tensor) -> tuple[Tensor, Tensor]:
    """Squares round the boxes: ((n, 3, KEPT, KEPT) in 0..1, (n, 2) half axes of the box in its crop, 0.5 the edge).

    `views` (B, 3, S, S); `row` (n,) the view of a box; `boxes_xyxy` (n, 4) pixels of it; `stretch` (n,) how many times
    wider than high a square of the view is in its photograph: crops are square in the photograph. A crop is moved
    into the view and, where it does not fit, shrunk.
    """
    side = float(views.shape[-1])
    centre = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    size = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    wide = torch.stack([stretch, torch.ones_like(stretch)], 1)  # pixels of the photograph's scale in one of the view
    longest = (size * wide).amax(1, keepdim=True) * MARGIN
    half = torch.minimum(longest, (side * wide).amin(1, keepdim=True)) / 2 / wide  # (n, 2) pixels of the view
    centre = torch.minimum(torch.maximum(centre, half), side - half)
    fine = 2 * KEPT  # drawn at twice the size and averaged, so that a large thing does not alias
    steps = (torch.arange(fine, device=views.device) + 0.5) / fine * 2 - 1
    x = centre[:, :1] + half[:, :1] * steps
    y = centre[:, 1:] + half[:, 1:] * steps
    grid = torch.stack([x[:, None, :].expand(-1, fine, -1), y[:, :, None].expand(-1, -1, fine)], -1) / side * 2 - 1
    crops = F.grid_sample(views[row], grid.to(views.dtype), "bilinear", "reflection", align_corners=False)
    return F.avg_pool2d(crops, 2), (size / half / 4).clamp(max=0.5)


@torch.no_grad()
def painted_over(crops: Tensor, extent: Tensor, chosen: Tensor) -> Tensor:
    """The `chosen` (n,) of crops (n, 3, h, w) with the hue of their middle turned by a random angle."""
    to = crops.new_tensor(_YIQ)
    angle = torch.rand(len(crops), device=crops.device) * 2 * torch.pi
    turn = torch.zeros(len(crops), 3, 3, device=crops.device, dtype=crops.dtype)
    turn[:, 0, 0] = 1
    turn[:, 1, 1], turn[:, 1, 2] = angle.cos(), -angle.sin()
    turn[:, 2, 1], turn[:, 2, 2] = angle.sin(), angle.cos()
    matrix = torch.linalg.inv(to) @ turn @ to  # (n, 3, 3)
    turned = (matrix @ crops.flatten(2)).view_as(crops).clamp(0, 1)
    soft = _region(crops.shape[-1], extent * 1.1, softness=0.25) * chosen.to(crops.dtype)[:, None, None]
    painted: Tensor = crops + (turned - crops) * soft[:, None]
    return painted


def _region(side: int, extent: Tensor, softness: float = 0.0) -> Tensor:
    """(n, side, side): 1 in the ellipse with half axes `extent` (n, 2), falling off over `softness` of its radius."""
    centre = (torch.arange(side, device=extent.device) + 0.5) / side - 0.5
    x, y = centre / extent[:, :1], centre / extent[:, 1:]
    radius = (x[:, None, :] ** 2 + y[:, :, None] ** 2).sqrt()
    return ((1 - radius) / max(softness, 1e-6) + 0.5).clamp(0, 1)


class Bank:
    """At most `capacity` crops, the oldest replaced.

    A kind is drawn as often as its number of crops to the power of `balance` says, of its crops the clear ones more.
    """

    def __init__(self, capacity: int, device: torch.device, *, balance: float = 0.5) -> None:
        self.balance = balance
        self.pictures = torch.zeros(capacity, 3, KEPT, KEPT, dtype=torch.uint8, device=device)
        self.kinds = torch.zeros(capacity, dtype=torch.long, device=device)
        self.colours = torch.zeros(capacity, dtype=torch.long, device=device)
        self.clear = torch.zeros(capacity, device=device)
        self.filled, self._next = 0, 0
        self._sums = torch.zeros(0)

    @torch.no_grad()
    def add(self, crops: Tensor, extent: Tensor, kinds: Tensor, clear: Tensor, *, repaint: float) -> None:
        """Keep crops (n, 3, KEPT, KEPT) of `kinds` (n,), each to be drawn in proportion to how `clear` (n,) it is.

        A share `repaint` of the things one paints changes colour.
        """
        paintable = torch.isin(kinds, torch.tensor(sorted(PAINTED), device=kinds.device))
        crops = painted_over(crops, extent, paintable & (torch.rand(len(kinds), device=kinds.device) < repaint))
        capacity = len(self.kinds)
        places = (torch.arange(len(kinds), device=kinds.device) + self._next) % capacity
        self.pictures[places] = (crops * 255).round().to(torch.uint8)
        self.kinds[places] = kinds
        self.clear[places] = clear.to(self.clear)
        self.colours[places] = prevailing(colour_shares(crops, _region(KEPT, extent * 0.8)))
        self._next = (self._next + len(kinds)) % capacity
        self.filled = min(capacity, self.filled + len(kinds))
        here, clear = self.kinds[: self.filled], self.clear[: self.filled]
        counts, light = (
            torch.zeros(len(KINDS), device=here.device).index_add_(0, here, each)
            for each in (torch.ones_like(clear), clear)
        )
        of_kind = counts.pow(self.balance) / light.clamp(min=1e-6)
        self._sums = (clear * of_kind[here]).double().cumsum(0)

    @torch.no_grad()
    def draw(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """`count` pictures (n, 3, 128, 128) in -1..1, shifted, mirrored, lit anew; their kinds; their colours (n,)."""
        device = self.kinds.device
        rolls = torch.rand(count, device=device, dtype=torch.float64) * self._sums[-1]
        chosen = torch.searchsorted(self._sums, rolls).clamp(max=self.filled - 1)
        zoom = torch.rand(count, device=device) * 0.2 + 0.8
        shift = (torch.rand(count, 2, device=device) * 2 - 1) * (1 - zoom)[:, None]
        mirrored = torch.where(torch.rand(count, device=device) < 0.5, -zoom, zoom)
        nothing = torch.zeros_like(zoom)
        theta = torch.stack([mirrored, nothing, shift[:, 0], nothing, zoom, shift[:, 1]], 1).view(-1, 2, 3)
        grid = F.affine_grid(theta, [count, 3, LARGE, LARGE], align_corners=False)
        pictures = self.pictures[chosen].float() / 255
        pictures = F.grid_sample(pictures, grid, "bilinear", "reflection", align_corners=False)
        light = 1 + (torch.rand(count, 1, 1, 1, device=device) - 0.5) * 0.2
        return (pictures * light).clamp(0, 1) * 2 - 1, self.kinds[chosen], self.colours[chosen]


def unsaid(colours: Tensor, share: float) -> Tensor:
    """The colours (n,), a `share` of them left unsaid."""
    return torch.where(torch.rand(len(colours), device=colours.device) < share, UNSAID, colours)
