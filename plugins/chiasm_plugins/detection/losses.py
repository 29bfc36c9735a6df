"""The training losses of detection, on a whole batch at once; every loss weight is here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from chiasm_registry import Route, Scene, TrainingError
from chiasm_registry.errors import shown
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .boxes import generalized_iou
from .rivals_loss import rivals_loss
from .targets import Assignment, BoxTarget, Truth, assign
from .teacher import CLASS_OF, Taught

if TYPE_CHECKING:
    from .decoder import DetectionDecoder, Located


@dataclass(frozen=True)
class LossWeights:
    """How much each part counts; `truth` is the annotations' share in the score targets, the teacher has the rest."""

    score: float = 1.0
    truth: float = 0.3
    overlap: float = 0.5
    distribution: float = 0.1
    distances: float = 0.25
    presence: float = 0.5
    naming: float = 0.5
    rivals: float = 0.5  # of boxes held against each other, where one of several is meant
    max_boxes: int = 100  # true boxes an image that are assigned


def loss_weights(options: Mapping[str, Any]) -> LossWeights:
    """The weights that a training config sets; an unknown one, or one that is no number from 0 on, is refused."""
    known = [field.name for field in fields(LossWeights)]
    for key, value in options.items():
        if key not in known:
            raise TrainingError(f"tasks.detection: key {shown(key, 40)} is unknown; there are {', '.join(known)}")
        if type(value) not in (int, float) or not 0 <= value < float("inf"):
            raise TrainingError(
                f"tasks.detection: key {key} is {shown(repr(value), 40)}; it must be a number from 0 on"
            )
    return LossWeights(**options)


def detection_losses(
    head: DetectionDecoder,
    located: Located,
    scenes: Sequence[Scene],
    routes: Sequence[Sequence[Route]],
    targets: Sequence[Sequence[BoxTarget]],
) -> Mapping[str, Tensor]:
    """Named losses, weighted by `head.weights`."""
    weights, device = head.weights, located.distances.device
    slots = pad_sequence(
        [torch.stack([route.slots for route in rs]) for rs in routes], batch_first=True
    )  # (B, R, K, D)
    counts = torch.tensor([len(rs) for rs in routes])
    asked = (torch.arange(slots.shape[1])[None] < counts[:, None]).to(device, non_blocking=True)  # (B, R)
    logits, presence, kind = (tensor.float() for tensor in head.judge(located, slots))
    truth = _truth(scenes, targets, located.view_hw, weights.max_boxes).to(device)
    assigned = assign(logits.detach().sigmoid(), located.boxes.detach(), located.centres, truth)
    losses: dict[str, Tensor] = {}
    quality, taught = assigned.quality, None
    if head.teacher is not None:
        taught = _teach(head, scenes)
        believed = _believed(taught, targets, slots.shape[1])
        losses["naming"] = weights.naming * _naming_loss(kind, targets)
        quality = weights.truth * quality + (1 - weights.truth) * believed
    counted = asked[..., None] & ~(_ignored(scenes, targets, located, slots.shape[1]) & (assigned.quality == 0))
    losses["score"] = weights.score * _score_loss(logits, quality, counted)
    if located.distances.requires_grad:  # the box head may be frozen while language learns
        losses.update(_box_losses(located, assigned, weights))
        if taught is not None:
            losses["distances"] = weights.distances * _distance_loss(located.distances, taught)
    losses["presence"] = weights.presence * _presence_loss(presence, targets, asked)
    if weights.rivals:
        singled = _singled(targets, slots.shape[1]).to(device, non_blocking=True)
        losses["rivals"] = weights.rivals * rivals_loss(
            head, located, scenes, slots, logits.detach(), truth, counted, singled
        )
    return losses


def _ignored(
    scenes: Sequence[Scene], targets: Sequence[Sequence[BoxTarget]], located: Located, rows: int
) -> Tensor:
    """(B, R, L): whether the location's centre lies in a group that is neither the phrase's nor not."""
    (height, width), device = located.view_hw, located.centres.device
    found = torch.zeros(len(scenes), rows, len(located.centres), dtype=torch.bool, device=device)
    for b, (scene, of_image) in enumerate(zip(scenes, targets, strict=True)):
        scale = torch.tensor([width / scene.size_hw[1], height / scene.size_hw[0]] * 2)
        for r, target in enumerate(of_image):
            if len(target.ignored):
                boxes = (target.ignored * scale).to(device)[:, None]  # (m, 1, 4)
                inside = (located.centres > boxes[..., :2]) & (located.centres < boxes[..., 2:])
                found[b, r] = inside.all(-1).any(0)
    return found


def _singled(targets: Sequence[Sequence[BoxTarget]], rows: int) -> Tensor:
    """(B, R), False where padding."""
    return torch.tensor([[t.singled for t in of_image] + [False] * (rows - len(of_image)) for of_image in targets])


def _truth(
    scenes: Sequence[Scene], targets: Sequence[Sequence[BoxTarget]], view_hw: tuple[int, int], limit: int
) -> Truth:
    """All phrases' boxes of each image in one padded list, in pixels of the view; what is meant, then its rivals.

    A location is to know the name of what it sees: the rivals are of that name, too.
    """
    boxes, phrases, meant = [], [], []
    for scene, of_image in zip(scenes, targets, strict=True):
        scale = torch.tensor([view_hw[1] / scene.size_hw[1], view_hw[0] / scene.size_hw[0]] * 2)
        boxes.append((torch.cat([both for t in of_image for both in (t.boxes, t.rivals)]) * scale)[:limit])
        counts = torch.tensor([len(both) for t in of_image for both in (t.boxes, t.rivals)])
        group = torch.arange(2 * len(of_image)).repeat_interleave(counts)[:limit]
        phrases.append(group // 2)
        meant.append(group % 2 == 0)
    valid = [torch.ones(len(b), dtype=torch.bool) for b in boxes]
    lists = [pad_sequence(each, batch_first=True) for each in (boxes, phrases, valid, meant)]
    if lists[0].shape[1] == 0:  # nothing true in the whole batch: one padding box keeps the shapes
        lists = [F.pad(each, (0, 0, 0, 1) if each.dim() == 3 else (0, 1)) for each in lists]
    return Truth(*lists)


def _teach(head: DetectionDecoder, scenes: Sequence[Scene]) -> Taught:
    """The teacher's view of the scenes, from the frozen initial model's maps."""
    assert head.teacher is not None
    maps = [torch.stack(maps) for maps in zip(*(scene.reference_maps for scene in scenes), strict=True)]
    taught: Taught = head.teacher.to(maps[0].device)([maps[k] for k in head.levels.use])
    return taught


def _believed(taught: Taught, targets: Sequence[Sequence[BoxTarget]], rows: int) -> Tensor:
    """(B, R, L): the teacher's score for each phrase, the largest of the classes it stands for; 0 for unknown words."""
    classes = [[[CLASS_OF[n] for n in t.meaning if n in CLASS_OF] for t in of_image] for of_image in targets]
    deepest = max((len(c) for of_image in classes for c in of_image), default=0)
    nothing = taught.scores.shape[1]
    width = max(deepest, 1)
    filled = [
        [found + [nothing] * (width - len(found)) for found in [*of_image, *[[]] * (rows - len(of_image))]]
        for of_image in classes
    ]
    index = torch.tensor(filled).to(taught.scores.device, non_blocking=True)  # (B, R, deepest)
    padded = F.pad(taught.scores, (0, 0, 0, 1))  # one class more that is nowhere
    believed = [padded.gather(1, index[:, :, k, None].expand(-1, -1, padded.shape[2])) for k in range(index.shape[2])]
    return torch.stack(believed).amax(0)


def _naming_loss(kind: Tensor, targets: Sequence[Sequence[BoxTarget]]) -> Tensor:
    """Cross-entropy of the prototypes to the classes a phrase stands for; unknown words share the last prototype.

    It tells the slots directly what the scores tell them only through the features of a picture.
    """
    nothing = kind.shape[-1] - 1
    rows, classes = [], []
    for b, of_image in enumerate(targets):
        for r, target in enumerate(of_image):
            found = [CLASS_OF[name] for name in target.meaning if name in CLASS_OF] or [nothing]
            if len(found) == 1:  # "animals" is no mixture of animals; the scores teach it a prototype of its own
                rows.append(b * kind.shape[1] + r)
                classes.append(found[0])
    named = kind.flatten(0, 1)[torch.tensor(rows, dtype=torch.long).to(kind.device)]
    wanted = torch.tensor(classes, dtype=torch.long).to(kind.device)
    return F.cross_entropy(named, wanted, reduction="sum") / max(1, len(rows))


def _score_loss(logits: Tensor, quality: Tensor, counted: Tensor) -> Tensor:
    """Binary cross-entropy to soft targets, per unit of target, where it is `counted` (B, R, L)."""
    loss = F.binary_cross_entropy_with_logits(logits, quality, reduction="none") * counted
    return loss.sum() / (quality * counted).sum().clamp(min=1.0)


def _box_losses(located: Located, assigned: Assignment, weights: LossWeights) -> dict[str, Tensor]:
    """GIoU of the boxes and the distribution focal loss of their edges, where a true box is assigned."""
    weight = assigned.weight
    total = weight.sum().clamp(min=1.0)
    overlap = ((1 - generalized_iou(located.boxes, assigned.box)) * weight).sum() / total
    edges = torch.cat([located.centres - assigned.box[..., :2], assigned.box[..., 2:] - located.centres], -1)
    logits = _by_edge(located.distances)
    bins = logits.shape[-1]
    place = (edges / located.strides[:, None]).clamp(0, bins - 1 - 1e-3)
    left = place.floor().long()
    logp = logits.log_softmax(-1)
    below, above = logp.gather(-1, left[..., None])[..., 0], logp.gather(-1, left[..., None] + 1)[..., 0]
    share = place - left
    distribution = -(below * (1 - share) + above * share).mean(-1)
    return {
        "overlap": weights.overlap * overlap,
        "distribution": weights.distribution * (distribution * weight).sum() / total,
    }


def _distance_loss(distances: Tensor, taught: Taught) -> Tensor:
    """Keep the edges' distributions near the teacher's where the teacher sees something (localization distillation)."""
    weight = taught.scores.amax(1)  # (B, L)
    student, teacher = _by_edge(distances).log_softmax(-1), _by_edge(taught.distances).log_softmax(-1)
    kl = (teacher.exp() * (teacher - student)).sum(-1).mean(-1)
    loss: Tensor = (kl * weight).sum() / weight.sum().clamp(min=1.0)
    return loss


def _by_edge(distances: Tensor) -> Tensor:
    """(B, L, 4 * BINS) logits to (B, L, 4, BINS)."""
    return distances.float().reshape(*distances.shape[:2], 4, -1)


def _presence_loss(presence: Tensor, targets: Sequence[Sequence[BoxTarget]], asked: Tensor) -> Tensor:
    """Is the phrase in the picture at all? A group that is to be ignored says neither yes nor no."""
    padding = [[False] * (presence.shape[1] - len(of_image)) for of_image in targets]
    there = [[len(t.boxes) > 0 for t in of_image] + pad for of_image, pad in zip(targets, padding, strict=True)]
    group = [[len(t.ignored) > 0 for t in of_image] + pad for of_image, pad in zip(targets, padding, strict=True)]
    yes = torch.tensor(there).to(presence)
    weight = asked * (1 - torch.tensor(group).to(presence) * (1 - yes))
    loss = F.binary_cross_entropy_with_logits(presence, yes, reduction="none")
    return (loss * weight).sum() / weight.sum().clamp(min=1.0)
