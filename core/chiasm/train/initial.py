"""Initial weights from a published file: the trunk takes what fits it, the tasks' decoders their own part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from chiasm_registry import TrainingError
from chiasm_registry.errors import shown
from torch import Tensor, nn

from ..backbone.trunk import TAGS, TrunkPatches
from ..routing.network import Network
from ..text import Tokenizer

# NanoDet-Plus's names (batch norms folded) to the trunk's; it was trained on blue-green-red.
_RENAMED = {"stage2.": "stages.0.", "stage3.": "stages.1.", "stage4.": "stages.2."}
# The published head gives every class some percent everywhere. Sharpened, a score of 0.03 becomes 0.003, 0.2 becomes
# 0.15 and 0.5 becomes 0.7, so that eighty doubts do not drown one thing that is there.
TAG_SLOPE, TAG_SHIFT = 2.0, 1.0
TAG_STRENGTH = 2.0  # a tag that is half believed speaks as loud as a word
QUIET = 0.1  # of the projector's first output, which says nothing yet
_HEAD = ("cls_convs.", "gfl_cls.")


def read_initial(path: str | Path | None) -> dict[str, Tensor]:
    """The float32 tensors of a safetensors file; {} for None."""
    if path is None:
        return {}
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return {name: tensor.float() for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"initial weights {shown(path)} cannot be read; give a safetensors file") from error


def start_trunk(patches: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Fill the trunk, and the towers before the patches, from NanoDet-Plus-m; every trunk tensor must be there."""
    if not isinstance(patches, TrunkPatches):
        raise TrainingError(
            "initial weights are for a backbone with a trunk; set model.trunk to true or leave initial out"
        )
    trunk = {_trunk_name(name): tensor for name, tensor in weights.items() if not name.startswith(_HEAD)}
    towers = {n.removeprefix("cls_convs."): t for n, t in weights.items() if n.startswith("cls_convs.")}
    try:
        trunk["stem.weight"] = trunk["stem.weight"].flip(1)
        patches.trunk.load_state_dict(trunk)
        patches.towers.load_state_dict(towers)
    except (KeyError, IndexError, RuntimeError) as error:
        raise TrainingError(
            "the initial weights are not those of NanoDet-Plus-m; their names or shapes differ"
        ) from error


def start_seeing(network: Network, tokenizer: Tokenizer, tags: Sequence[str], weights: Mapping[str, Tensor]) -> None:
    """Let image tokens begin as the names of what the published head recognises; `tags` are its classes, in order."""
    core: Any = network.backbone_module.internvl.model  # type: ignore[union-attr]
    embedding, space = network.backbone.matrices()[0], tokenizer.encode_user(" ")[0]
    vectors = name_vectors(embedding, [tokenizer.encode_user(tag) for tag in tags], space)
    start_tags(core.vision_tower.embeddings.patch_embeddings, weights, vectors)
    quieten(core.multi_modal_projector, embedding[tokenizer.id_of("<IMG_CONTEXT>")])


@torch.no_grad()
def start_tags(patches: nn.Module, weights: Mapping[str, Tensor], vectors: Tensor) -> None:
    """Make the first tags the published classes, sharpened, each said as its row of `vectors` (classes, D)."""
    if not isinstance(patches, TrunkPatches):
        raise TrainingError("model.tags is for a backbone with a trunk; set model.trunk to true or leave it out")
    count = len(vectors)
    for level, kind in enumerate(cast("Sequence[nn.Conv2d]", patches.tags.kinds)):
        weight, bias = (weights.get(f"gfl_cls.{level}.{part}") for part in ("weight", "bias"))
        if weight is None or bias is None:
            raise TrainingError("model.tags needs initial weights with a head of NanoDet-Plus-m; set `initial` to them")
        if count > min(len(weight), TAGS):
            raise TrainingError(f"model.tags has {count} names; the initial head and the trunk know fewer classes")
        assert kind.bias is not None
        kind.weight[:count] = TAG_SLOPE * weight[:count]
        kind.bias[:count] = TAG_SLOPE * bias[:count] + TAG_SHIFT
    patches.tags.words.weight[:, :count] = vectors.T


@torch.no_grad()
def quieten(projector: nn.Module, blank: Tensor) -> None:
    """Let the projector's last layer start near `blank` (D,), against which the strength of a tag can be read."""
    last = cast(nn.Linear, projector.linear_2)
    last.weight.mul_(QUIET)
    last.bias.copy_(blank)


@torch.no_grad()
def name_vectors(embedding: Tensor, spelled: Sequence[Sequence[int]], space: int) -> Tensor:
    """(names, D): how each name begins, what follows in it (`space` left out) at half its weight.

    All share one more vector, the same for all, so that attention can look for anything that has a name.
    """
    generator = torch.Generator().manual_seed(0)
    size = embedding[[ids[0] for ids in spelled]].norm(dim=1).mean()
    shared = F.normalize(torch.randn(embedding.shape[1], generator=generator), dim=0) * size
    rows = []
    for first, *rest in spelled:
        later = [token for token in rest if token != space]
        rows.append(embedding[first] + (embedding[later].mean(0) / 2 if later else 0) + shared / 2)
    return TAG_STRENGTH * torch.stack(rows)


def _trunk_name(name: str) -> str:
    for old, new in _RENAMED.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


@torch.no_grad()
def frozen_trunk(patches: TrunkPatches) -> nn.Module:
    """A frozen copy of the trunk, whose maps are the scenes' reference maps in distillation."""
    import copy

    return copy.deepcopy(patches.trunk).requires_grad_(False).eval()
