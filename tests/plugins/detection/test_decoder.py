"""The head: boxes inside the picture, best first, from any core; published weights mean in it what they meant."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from chiasm_plugins.detection.decoder import BINS, OVERLAP, DetectionDecoder
from chiasm_plugins.detection.pyramid import LEVELS
from chiasm_plugins.detection.teacher import Teacher
from chiasm_registry import Box, Boxes, CoreInfo, MapInfo, Scene, TrainingError
from pace import fastest
from plugins.detection.making import GRID, PYRAMID, VIEW, head, maps, plain_iou, routes, scene
from safetensors.torch import load_file
from torch import Tensor

torch.set_num_threads(1)

CORES = [PYRAMID, GRID]


@pytest.fixture(params=CORES, ids=["pyramid", "one grid"])
def core(request: pytest.FixtureRequest) -> CoreInfo:
    made: CoreInfo = request.param
    return made


def edges(box: Box) -> tuple[float, float, float, float]:
    return box.xyxy


def test_boxes_are_inside_the_picture_and_best_first(core: CoreInfo) -> None:
    """Of any size and shape; each phrase has as many as are asked for, none twice."""
    for size_hw in ((VIEW, VIEW), (37, 211), (1, 1), (3000, 20)):
        for output in head(core).decode(scene(core, size_hw), routes(3, threshold=0.0, max_objects=20)):
            scores = [item.score or 0.0 for item in output.items]
            assert scores == sorted(scores, reverse=True)
            assert 1 <= len(output.items) <= 20
            for k, item in enumerate(output.items):
                x0, y0, x1, y1 = edges(item.box)
                assert 0 <= x0 < x1 <= size_hw[1]
                assert 0 <= y0 < y1 <= size_hw[0]
                assert 0 <= scores[k] <= 1
                assert all(plain_iou(edges(item.box), edges(o.box)) <= OVERLAP + 1e-3 for o in output.items[:k])


def test_boxes_scale_with_the_picture(core: CoreInfo) -> None:
    """The same view of a picture three times as wide gives the same boxes, three times as wide."""
    one, other = (head(core).decode(scene(core, size), routes(2, threshold=0.0)) for size in ((90, 110), (90, 330)))
    for first, second in zip(one, other, strict=True):
        for a, b in zip(first.items[:20], second.items[:20], strict=True):
            wide = (3 * a.box.xyxy[0], a.box.xyxy[1], 3 * a.box.xyxy[2], a.box.xyxy[3])
            assert b.box.xyxy == pytest.approx(wide, abs=1e-3)
            assert b.score == a.score


def test_the_threshold_is_on_the_score(core: CoreInfo) -> None:
    """What it keeps is what reaches it, and an output may be empty."""
    everything = head(core).decode(scene(core), routes(2, threshold=0.0))
    cut = everything[0].items[4].score
    some = head(core).decode(scene(core), routes(2, threshold=cut))
    assert [i.score for i in some[0].items] == [i.score for i in everything[0].items if i.score >= cut]
    assert [output.items for output in head(core).decode(scene(core), routes(2, threshold=1.0))] == [(), ()]


def test_a_phrase_is_judged_alike_in_any_company(core: CoreInfo) -> None:
    decoder, asked = head(core), routes(9, threshold=0.0)
    among = decoder.decode(scene(core), asked)
    backwards = decoder.decode(scene(core), asked[::-1])[::-1]
    for k in range(9):
        (alone,) = decoder.decode(scene(core), asked[k : k + 1])
        for other in (alone, backwards[k]):
            assert [i.score for i in other.items] == pytest.approx([i.score for i in among[k].items], abs=1e-5)


def test_a_scene_is_looked_at_once() -> None:
    """What does not depend on the phrases is kept in the scene's memo."""
    decoder, view = head(), scene()
    first = decoder.decode(view, routes(2, threshold=0.0))
    decoder.towers = torch.nn.ModuleList()
    assert decoder.decode(view, routes(2, threshold=0.0)) == first


def test_numbers_that_are_not_finite_give_no_boxes() -> None:
    broken = Scene(size_hw=(VIEW, VIEW), maps=tuple(m * float("nan") for m in maps()), view=lambda side: torch.zeros(1))
    assert [output.items for output in head().decode(broken, routes(2, threshold=0.0))] == [(), ()]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_any_type_of_weights_decodes(dtype: torch.dtype) -> None:
    """As core casts a decoder; the boxes of the best locations are near those in float32."""
    plain = head().locate([m[None] for m in maps()])
    decoder = head().to(dtype)
    cast = Scene((VIEW, VIEW), tuple(m.to(dtype) for m in maps()), view=lambda side: torch.zeros(1))
    asked = routes(2, threshold=0.0)
    for route in asked:
        object.__setattr__(route, "slots", route.slots.to(dtype))
    assert all(output.items for output in decoder.decode(cast, asked))
    located = decoder.locate([m[None] for m in cast.maps])
    assert located.boxes.dtype == torch.float32 or dtype == torch.float64
    assert (located.boxes - plain.boxes).abs().max() < 1.5


def test_locations_stand_where_the_contract_says() -> None:
    """Row and column of a map times its stride, without half a cell; distances are in units of the stride."""
    with torch.no_grad():
        located = head().locate([m[None] for m in maps()])
    counts = [(VIEW // s) ** 2 for s in (8, 16, 32, 64)]
    assert located.centres.shape == (sum(counts), 2)
    assert located.centres[1].tolist() == [8.0, 0.0]
    assert located.centres[counts[0] + VIEW // 16].tolist() == [0.0, 16.0]
    assert located.strides[[0, counts[0], -1]].tolist() == [8.0, 16.0, 64.0]
    assert located.view_hw == (VIEW, VIEW)
    reach = (located.boxes[0, :, 2:] - located.boxes[0, :, :2]) / located.strides[:, None]
    assert 0 < float(reach.min()) <= float(reach.max()) <= 2 * (BINS - 1)


def test_one_grid_becomes_four_levels() -> None:
    """Half, once, twice and four times the grid's stride, the whole view on each."""
    decoder = head(GRID)
    assert decoder.levels.one_grid
    assert decoder.levels.strides == (7, 14, 28, 56)
    located = decoder.locate([m[None] for m in maps(GRID)])
    assert located.view_hw == (56, 56)
    assert len(located.centres) == 64 + 16 + 4 + 1


def test_a_core_of_many_maps_lends_its_four_coarsest_useful_ones() -> None:
    wide = CoreInfo(32, tuple(MapInfo(16, 2**k) for k in range(1, 8)), torch.float32)
    decoder = head(wide)
    assert decoder.levels.strides == (16, 32, 64, 128)
    assert decoder.levels.use == [3, 4, 5, 6]


def test_eighty_phrases_without_a_threshold_are_quick() -> None:
    """448 pixels, 4,165 locations, thousands of boxes: well under a second even on a busy core."""
    decoder = head()
    big = tuple(torch.randn(i.channels, 448 // i.stride, 448 // i.stride) for i in PYRAMID.maps)
    asked = routes(80, threshold=0.0)

    def decoded() -> Sequence[Boxes]:
        return decoder.decode(Scene((480, 640), big, view=lambda side: torch.zeros(1)), asked)

    assert sum(len(output.items) for output in decoded()) > 1000
    assert fastest(decoded) < 1.0


# Initial weights.


def published(classes: int = 80, bins: int = BINS) -> dict[str, Tensor]:
    """Random weights under the names of the published head."""
    generator = torch.Generator().manual_seed(0)
    weights = {
        f"cls_convs.{name}": torch.randn(tensor.shape, generator=generator) * 0.1
        for name, tensor in head().towers.state_dict().items()
    }
    for level in range(LEVELS):
        weights[f"gfl_cls.{level}.weight"] = torch.randn(classes + 4 * bins, 96, 1, 1, generator=generator)
        weights[f"gfl_cls.{level}.bias"] = torch.randn(classes + 4 * bins, generator=generator)
    return weights


def test_a_published_head_is_student_and_teacher() -> None:
    """The student's boxes start as the teacher's; the teacher is neither trained nor saved."""
    decoder = head()
    before = set(decoder.state_dict())
    decoder.prepare({"truth": 0.5}, published())
    assert decoder.weights.truth == 0.5
    assert set(decoder.state_dict()) == before
    assert decoder.teacher is not None
    assert not any(p.requires_grad for p in decoder.teacher.parameters())
    pyramid = [m[None] for m in maps()]
    taught = decoder.teacher([pyramid[k] for k in decoder.levels.use])
    torch.testing.assert_close(decoder.locate(pyramid).distances, taught.distances, atol=1e-5, rtol=0)
    assert taught.scores.shape == (1, 80, 340)
    assert decoder.prepare({}, {}) is None


@pytest.mark.parametrize(
    ("options", "weights", "message"),
    [
        ({"colour": 1.0}, {}, "key colour is unknown; there are score"),
        ({"score": "high"}, {}, "key score is 'high'"),
        ({"score": float("nan")}, {}, "key score is nan"),
        ({"score": -1}, {}, "key score is -1"),
        ({}, {"other": torch.zeros(1)}, "hold no head of NanoDet-Plus-m"),
        ({}, published(classes=20), "hold no head of NanoDet-Plus-m"),
        ({}, published(bins=17), "hold no head of NanoDet-Plus-m"),
    ],
    ids=["unknown", "text", "nan", "negative", "foreign", "classes", "bins"],
)
def test_what_cannot_be_prepared_is_refused_in_one_line(
    options: dict[str, object], weights: dict[str, Tensor], message: str
) -> None:
    with pytest.raises(TrainingError, match=message) as caught:
        head().prepare(options, weights)
    assert len(str(caught.value)) <= 200


def test_the_published_head_gives_the_published_outputs(shared: Path) -> None:
    """The teacher on the reference's own pyramid gives the reference's scores and distances to 1e-4."""
    folder = shared / "data" / "weights" / "nanodet_plus_m"
    spec = importlib.util.spec_from_file_location("reference", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    weights = {name: tensor.float() for name, tensor in load_file(folder / "nanodet_plus_m.safetensors").items()}
    judge = reference.NanoDetPlus().eval().requires_grad_(False)
    judge.load_state_dict(weights)
    picture = torch.randn(1, 3, 192, 192, generator=torch.Generator().manual_seed(2))
    wanted = judge(picture)  # (B, N, 80 + 32)
    teacher = Teacher(weights, (8, 16, 32, 64), 4 * BINS)
    taught = teacher(judge.pyramid(picture))
    torch.testing.assert_close(taught.scores.transpose(1, 2), wanted[..., :80].sigmoid(), atol=1e-4, rtol=0)
    torch.testing.assert_close(taught.distances, wanted[..., 80:], atol=1e-4, rtol=0)
    student = DetectionDecoder(PYRAMID)
    student.prepare({}, weights)
    stem = torch.zeros(1, 24, 48, 48)
    located = student.locate([stem, *judge.pyramid(picture)])
    torch.testing.assert_close(located.distances, wanted[..., 80:], atol=1e-4, rtol=0)
