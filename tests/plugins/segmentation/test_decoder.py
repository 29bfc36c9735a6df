"""Promises of the decoder: which prompts give which masks, one embedding an image, scores, bounds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from chiasm_plugins.segmentation.asking import Ask, best_asks
from chiasm_plugins.segmentation.closer import looks, parts
from chiasm_plugins.segmentation.decoder import SegmentationDecoder
from chiasm_plugins.segmentation.sam import Prompts
from chiasm_registry import Box, Boxes, InputError, ScoredBox
from plugins.segmentation.masking import CORE, route, scene


@pytest.fixture(scope="module")
def head() -> SegmentationDecoder:
    torch.manual_seed(0)
    return SegmentationDecoder(CORE).eval()


def boxes(*rows: tuple[tuple[float, ...], float]) -> Boxes:
    return Boxes(items=tuple(ScoredBox(box=Box(xyxy=box), score=score) for box, score in rows))  # type: ignore[arg-type]


def test_nano_sized_it_has_few_parameters() -> None:
    from chiasm_registry import CoreInfo, MapInfo

    maps = tuple(MapInfo(c, s) for c, s in ((24, 4), (96, 8), (96, 16), (96, 32), (96, 64)))
    nano = SegmentationDecoder(CoreInfo(256, maps, torch.float32))
    assert sum(p.numel() for p in nano.parameters()) <= 1_350_000


def test_each_box_of_the_caller_has_its_mask_in_order(head: SegmentationDecoder) -> None:
    rows = ((0.0, 0.0, 300.0, 200.0), (500.0, 300.0, 700.0, 390.0))
    (output,) = head.decode(scene((400, 800)), [route("", boxes=rows)])
    assert len(output.items) == 2
    for item, row in zip(output.items, rows, strict=True):
        assert item.mask.size_hw == (400, 800)
        assert item.of is None
        if item.box is not None:
            x0, y0, x1, y1 = item.box.xyxy
            wide, high = 0.2 * (row[2] - row[0]) + 320, 0.2 * (row[3] - row[1]) + 160  # a region has a least size
            assert x0 >= row[0] - wide
            assert x1 <= row[2] + wide
            assert y0 >= row[1] - high
            assert y1 <= row[3] + high


def test_a_box_of_detection_is_completed_and_its_score_counts(head: SegmentationDecoder) -> None:
    found = boxes(((10, 10, 50, 50), 0.9), ((5, 5, 20, 60), 0.4))
    (output,) = head.decode(scene(), [route(earlier=(found,))])
    assert [item.of for item in output.items] == [0, 1]
    alone = head.decode(scene(), [route(boxes=tuple(item.box.xyxy for item in found.items))])[0]
    for item, free, given in zip(output.items, alone.items, (0.9, 0.4), strict=True):
        assert item.score == pytest.approx(given * (free.score or 0.0), abs=1e-6)


def test_where_detection_found_nothing_nothing_is_outlined(head: SegmentationDecoder) -> None:
    (output,) = head.decode(scene(), [route(earlier=(Boxes(),))])
    assert output.is_empty()


def test_a_phrase_alone_that_cannot_reach_its_threshold_is_empty(head: SegmentationDecoder) -> None:
    (output,) = head.decode(scene(), [route(threshold=1.0)])
    assert output.is_empty()


def test_clicks_give_one_mask_or_three(head: SegmentationDecoder) -> None:
    one, three = head.decode(
        scene(),
        [route("", points=((30.0, 30.0, 1),)), route("", points=((30.0, 30.0, 1),), options={"multimask": True})],
    )
    assert len(one.items) == 1
    assert len(three.items) == 3
    scores = [item.score or 0.0 for item in three.items]
    assert scores == sorted(scores, reverse=True)


def test_no_prompt_at_all_is_refused(head: SegmentationDecoder) -> None:
    with pytest.raises(InputError, match="nothing says what to segment"):
        head.decode(scene(), [route("")])


def test_eighty_phrases_see_the_image_once(head: SegmentationDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    see = head.see
    monkeypatch.setattr(head, "see", lambda *given: calls.append(1) or see(*given))
    one = scene()
    found = boxes(((10, 10, 50, 50), 0.9))
    routes = [route(f"thing {k}", k, earlier=(found if k % 9 == 0 else Boxes(),)) for k in range(80)]
    outputs = head.decode(one, routes)
    head.decode(one, routes[:2])
    assert len(outputs) == 80
    assert len(calls) == 1
    assert len(one.memo["calls"]) == 1


def test_a_mask_does_not_depend_on_what_else_is_asked(head: SegmentationDecoder) -> None:
    mine = route("dog", 3, boxes=((10.0, 10.0, 50.0, 50.0),))
    others = [route("cat", k, boxes=((5.0 * k, 4.0, 60.0, 40.0 + k),), points=()) for k in range(20)]
    alone = head.decode(scene(), [mine])[0]
    among = head.decode(scene(), [others[0], mine, *others[1:], route("", points=((9.0, 9.0, 1), (20.0, 9.0, 0)))])[1]
    assert among.items[0].mask == alone.items[0].mask
    assert among.items[0].score == pytest.approx(alone.items[0].score, abs=1e-5)


def test_the_best_boxes_of_all_phrases_are_outlined_as_many_as_a_result_holds() -> None:
    asked = [[Ask((0, 0, 9, 9), of=k, given=score) for k, score in enumerate(row)] for row in ((0.9, 0.2), (0.5, 0.2))]
    asked.append([Ask((0, 0, 9, 9))])
    kept = best_asks(asked, 3)
    assert [[ask.given for ask in row] for row in kept] == [[0.9, 0.2], [0.5], [1.0]]


def two_pieces() -> torch.Tensor:
    logits = torch.full((1, 4, 16, 16), -1.0)
    logits[0, 0, 2:4, 2:6] = 1.0
    logits[0, 0, 8:15, 8:15] = 1.0
    return logits


def test_a_click_looks_closer_at_the_piece_it_hit() -> None:
    hit, missed = Ask(places=((12.0, 12.0, 1),)), Ask(places=((60.0, 2.0, 1),))
    assert [look.ask.box for look in looks([hit], two_pieces(), 64)] == [(8.0, 8.0, 24.0, 16.0)]
    assert [look.ask.box for look in looks([missed], two_pieces(), 64)] == [(32.0, 32.0, 60.0, 60.0)]
    assert looks([missed], -torch.ones(1, 4, 16, 16), 64) == []


def test_a_phrase_alone_looks_closer_at_every_piece_and_keeps_what_a_second_look_would_lose() -> None:
    ask, logits = Ask(), two_pieces()
    again = looks([ask], logits, 64)
    assert [look.ask.box for look in again] == [(32.0, 32.0, 60.0, 60.0), (8.0, 8.0, 24.0, 16.0)]
    closer = torch.full((2, 4, 16, 16), -1.0)
    closer[0, 0, 2:14, 2:14] = 1.0  # most of the large piece, nothing of the small one
    quality = torch.full((1, 4), 0.5), torch.full((2, 4), 0.8)
    ((large, small),) = parts([ask], (logits, quality[0]), again, (closer, quality[1]), 64)
    assert large.box == (32.0, 32.0, 60.0, 60.0)
    assert small.box is None
    assert (small.logits[0] > 0).sum() == 8


def test_sams_own_prompt_encoder_says_the_same_of_boxes_and_points() -> None:
    torch.manual_seed(0)
    prompts = Prompts(32, 8, 64)
    places = torch.rand(3, 2, 2) * 60
    theirs, _ = prompts.forward((places, torch.ones(3, 2)), places.flatten(1), None)
    ours = prompts.tokens(
        torch.cat([places, places], 1) + 0.5, torch.tensor([[1, 1, 2, 3]]).expand(3, -1)
    )
    assert torch.allclose(theirs, ours, atol=1e-5)
    assert torch.allclose(prompts.get_dense_pe(), prompts.grid_waves(), atol=1e-5)


def test_half_precision_changes_little(head: SegmentationDecoder) -> None:
    import copy

    half: Any = copy.deepcopy(head).to(torch.bfloat16)
    given = replace(route("dog", 3, boxes=((10.0, 10.0, 50.0, 50.0),)))
    whole = scene()
    coarse = replace(whole, maps=tuple(m.bfloat16() for m in whole.maps), memo={},
                     view=lambda size: whole.view(size).bfloat16())
    full = head.decode(scene(), [given])[0].items[0].mask.numpy()
    rounded = half.decode(coarse, [replace(given, slots=given.slots.bfloat16())])[0].items[0].mask.numpy()
    assert (full != rounded).mean() < 0.1


def test_ten_masks_of_a_large_photograph_need_little_memory(head: SegmentationDecoder) -> None:
    """Nothing has the photograph's size but bits; numpy's memory is what is counted, torch's pieces are smaller."""
    import tracemalloc

    given = route("", boxes=tuple((100.0 * k, 50.0 * k, 1500.0 + 200 * k, 1500.0 + 100 * k) for k in range(10)))
    tracemalloc.start()
    (output,) = head.decode(scene((3000, 4000)), [given])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(output.items) == 10
    assert peak < 200 * 2**20
