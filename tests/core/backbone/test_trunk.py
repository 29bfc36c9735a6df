"""The convolutional trunk: its shapes, its patches, and that published weights mean in it what they meant before."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from chiasm.backbone.trunk import TAGS, ShuffleUnit, Tags, Trunk, TrunkPatches
from chiasm.train.initial import frozen_trunk, name_vectors, quieten, read_initial, start_tags, start_trunk
from chiasm_registry import TrainingError
from safetensors.torch import save_file
from torch import Tensor, nn


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))


def fresh() -> TrunkPatches:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return TrunkPatches(20, 12).eval().requires_grad_(False)


def published() -> dict[str, Tensor]:
    """Other weights under the names of the published file."""
    patches = fresh()
    renamed = {"stages.0.": "stage2.", "stages.1.": "stage3.", "stages.2.": "stage4."}
    names = {}
    for name, tensor in patches.trunk.state_dict().items():
        old = next((new + name.removeprefix(part) for part, new in renamed.items() if name.startswith(part)), name)
        names[old] = tensor + 0.25
    towers = {f"cls_convs.{name}": tensor - 0.5 for name, tensor in patches.towers.state_dict().items()}
    return {**names, **towers}


def test_maps_at_five_strides(pixels: Tensor) -> None:
    trunk = fresh().trunk
    shapes = [tuple(m.shape) for m in trunk(pixels)]
    assert shapes == [(1, c, 128 // s, 128 // s) for c, s in zip(trunk.channels, (4, 8, 16, 32, 64), strict=True)]


def test_sizes_that_are_no_multiple_of_the_coarsest_stride() -> None:
    """A grid that ends in half a cell is rounded up, and every level still meets its neighbour."""
    maps = Trunk().eval()(torch.zeros(1, 3, 80, 112))
    assert [tuple(m.shape[-2:]) for m in maps] == [(20, 28), (10, 14), (5, 7), (3, 4), (2, 2)]


def test_patches_stand_on_the_grid_row_by_row(pixels: Tensor) -> None:
    """One patch for each cell of stride 16; a change in the picture's upper right corner moves that corner's patch."""
    patches = fresh()
    plain = patches(pixels)
    assert plain.shape == (1, 64, 20)
    assert torch.equal(patches.patches(patches.features(patches.trunk(pixels))), plain)
    changed = pixels.clone()
    changed[..., :16, -16:] += 3.0
    moved = (patches(changed) - plain)[0].norm(dim=1).view(8, 8)
    row, column = divmod(int(moved.argmax()), 8)
    assert row <= 1
    assert column >= 6


def test_a_unit_interleaves_what_passes_and_what_is_worked_on() -> None:
    unit = ShuffleUnit(8, 8, 1)
    x = torch.randn(1, 8, 4, 4)
    assert torch.equal(unit(x)[:, ::2], x[:, :4])


@pytest.mark.parametrize(("level", "side"), [(0, 8), (1, 4), (2, 2)], ids=["finer", "the same", "coarser"])
def test_a_tag_is_said_in_the_cell_where_it_is_seen(level: int, side: int) -> None:
    """The strongest place of any level counts; elsewhere nothing is said."""
    tags = Tags(5, 3, 6)
    with torch.no_grad():
        for kind in tags.kinds:
            kind.weight.zero_()
            kind.bias.fill_(-30.0)
        tags.kinds[level].weight[7, 2] = 60.0
    features = [torch.zeros(1, 5, n, n) for n in (8, 4, 2)]
    features[level][0, 2, 0, side - 1] = 1.0  # the upper right corner
    said = tags(features, 4)[0].view(4, 4, 6)
    torch.testing.assert_close(said[0, 3], tags.words.weight[:, 7])
    assert said[2:].abs().max() < 1e-6
    assert said[:, :2].abs().max() < 1e-6


def test_the_first_tags_start_as_the_published_classes() -> None:
    patches, weights = fresh(), published()
    for level in range(4):
        weights[f"gfl_cls.{level}.weight"] = torch.full((80 + 32, 96, 1, 1), level + 1.0)
        weights[f"gfl_cls.{level}.bias"] = torch.arange(112.0)
    untouched = patches.tags.kinds[2].bias[80:].clone()
    vectors = torch.arange(80.0 * 12).view(80, 12)
    start_tags(patches, weights, vectors)
    assert torch.equal(patches.tags.kinds[2].weight[:80], 2 * weights["gfl_cls.2.weight"][:80])
    assert torch.equal(patches.tags.kinds[2].bias[:80], 2 * torch.arange(80.0) + 1)
    assert torch.equal(patches.tags.kinds[2].bias[80:], untouched)
    assert torch.equal(patches.tags.words.weight[:, 79], vectors[79])
    with pytest.raises(TrainingError, match=r"needs initial weights with a head"):
        start_tags(patches, published(), vectors)
    for many in (113, TAGS + 1):
        with pytest.raises(TrainingError, match=r"know fewer classes"):
            start_tags(patches, weights, torch.zeros(many, 12))


def test_a_quiet_projector_says_the_same_everywhere() -> None:
    projector = nn.Sequential()
    projector.linear_2 = nn.Linear(6, 6)
    inputs = torch.randn(50, 6, generator=torch.Generator().manual_seed(3))
    before = projector.linear_2(inputs).std(0)
    blank = torch.arange(6.0)
    quieten(projector, blank)
    assert torch.all(projector.linear_2(inputs).std(0) < 0.11 * before)
    assert torch.equal(projector.linear_2(torch.zeros(6)), blank)


def test_a_names_vector_is_mostly_its_first_token() -> None:
    """What follows counts half, a space not at all; and all names have one thing in common."""
    embedding = torch.eye(8)
    one, two = name_vectors(embedding, [[3], [4, 1, 5]], space=1)
    assert torch.argmax(one) == 3
    difference = (two - one) / (one - two)[3]
    torch.testing.assert_close(difference, torch.tensor([0, 0, 0, -1.0, 1.0, 0.5, 0, 0]))


def test_published_names_fill_every_tensor() -> None:
    """Colours are turned round, as the published trunk saw blue first."""
    patches, weights = fresh(), published()
    start_trunk(patches, weights)
    trunk, towers = patches.trunk.state_dict(), patches.towers.state_dict()
    assert torch.equal(trunk["stem.weight"], weights["stem.weight"].flip(1))
    assert torch.equal(trunk["stages.1.2.branch2.dw.weight"], weights["stage3.2.branch2.dw.weight"])
    assert torch.equal(towers["3.1.pw.bias"], weights["cls_convs.3.1.pw.bias"])


def test_a_frozen_trunk_stays_as_it_was(pixels: Tensor) -> None:
    patches = fresh()
    reference = frozen_trunk(patches)
    before = [m.clone() for m in patches.trunk(pixels)]
    with torch.no_grad():
        for parameter in patches.parameters():
            parameter.add_(1.0)
    for now, then in zip(reference(pixels), before, strict=True):
        assert torch.equal(now, then)
    assert not any(p.requires_grad for p in reference.parameters())


def without(weights: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in weights.items() if key != name}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda w: without(w, "stem.weight"),
        lambda w: {**w, "stem.weight": torch.zeros(24)},
        lambda w: {**w, "stem.weight": torch.tensor(1.0)},
        lambda w: {**w, "reduce.0.bias": torch.zeros(7)},
        lambda w: {**w, "spare": torch.zeros(7)},
        lambda w: without(w, "cls_convs.0.0.dw.weight"),
        lambda w: {"a": torch.zeros(1)},
    ],
    ids=["lacks", "flat", "scalar", "misshapen", "spare", "no tower", "foreign"],
)
def test_initial_weights_of_another_shape_are_refused_in_one_line(spoil: Any) -> None:
    with pytest.raises(TrainingError, match=r"not those of NanoDet-Plus-m") as caught:
        start_trunk(fresh(), spoil(published()))
    assert len(str(caught.value)) <= 200


def test_initial_weights_are_for_a_trunk() -> None:
    with pytest.raises(TrainingError, match=r"for a backbone with a trunk"):
        start_trunk(nn.Conv2d(3, 8, 14, 14), published())


def test_initial_weights_are_read_as_float32(tmp_path: Path) -> None:
    file = tmp_path / "initial.safetensors"
    save_file({"a": torch.ones(2, dtype=torch.bfloat16)}, file)
    assert read_initial(file)["a"].dtype == torch.float32
    assert read_initial(None) == {}
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(file.read_bytes()[:-1])
    for wrong in (tmp_path / "missing.safetensors", tmp_path, torn):
        with pytest.raises(TrainingError, match=r"cannot be read; give a safetensors file") as caught:
            read_initial(wrong)
        assert str(caught.value).isprintable()


def test_published_weights_give_the_published_features(shared: Path) -> None:
    """The trunk with NanoDet-Plus-m's weights, on red-green-blue, gives the maps of the reference to 1e-4."""
    folder = shared / "data" / "weights" / "nanodet_plus_m"
    spec = importlib.util.spec_from_file_location("reference", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    weights = read_initial(folder / "nanodet_plus_m.safetensors")
    judge = reference.NanoDetPlus().eval().requires_grad_(False)
    judge.load_state_dict(weights)
    patches = fresh()
    start_trunk(patches, weights)
    picture = torch.randn(1, 3, 192, 192, generator=torch.Generator().manual_seed(2))
    own = patches.trunk(picture)[1:]
    for level, (mine, wanted) in enumerate(zip(own, judge.pyramid(picture.flip(1)), strict=True)):
        torch.testing.assert_close(mine, wanted, atol=1e-4, rtol=0)
        tower, wanted_tower = patches.towers[level], judge.cls_convs[level]
        torch.testing.assert_close(tower(mine), wanted_tower(wanted), atol=1e-4, rtol=0)
