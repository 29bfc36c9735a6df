"""Rules on what `decode` answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..check import check_output
from ..contract import Route, Scene
from ..geometry import Mask
from ..outputs import Output
from .bench import Bench
from .compare import difference, numbers_of, places
from .core import tiny_core
from .rule import BrokenRuleError, NotApplicableError
from .shapes import draw_shapes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MAX_ITEMS = 10_000
SIZES_HW = ((64, 64), (40, 120), (150, 60))
LARGER = 2  # times, each way
ROUNDING = 0.03  # of the picture's longer side: some places stand on whole pixels


def check_answers(bench: Bench) -> None:
    """Each answer passes what `dispatch` asks of it: class, number of items, finite numbers, places in the image."""
    for answer in bench.answers(bench.kept, bench.phrases, telling=True):
        _check(answer, bench, (bench.picture.height, bench.picture.width))


def check_batches(bench: Bench) -> None:
    """None, one and three phrases of pictures of mixed sizes, each answered as if it had been asked alone."""
    if bench.answers(bench.kept, ()):
        raise BrokenRuleError("decode() answers where nothing is asked")
    for size_hw in SIZES_HW:
        picture = draw_shapes(1, size_hw=size_hw, names=bench.names)[0].picture
        together = bench.answers(bench.kept, bench.phrases, picture)
        for phrase, answer in zip(bench.phrases, together, strict=True):
            (alone,) = bench.answers(bench.kept, (phrase,), picture)
            if fault := difference(answer, alone):
                raise BrokenRuleError(f"asked alone and among others, {fault}")


def check_round_trip(bench: Bench) -> None:
    """An answer read back from its JSON is the same answer."""
    for answer in bench.answers(bench.kept, bench.phrases, telling=True):
        again = type(answer).model_validate_json(answer.model_dump_json())
        if fault := difference(answer, again, near=0):
            raise BrokenRuleError(f"read back from JSON, {fault}")


def check_scale(bench: Bench) -> None:
    """The same picture with twice as many pixels gives the same places, twice as far out."""
    height, width = bench.picture.height, bench.picture.width
    small = bench.answers(bench.kept, bench.phrases, telling=True)
    larger = replace(bench.scene(), size_hw=(LARGER * height, LARGER * width))
    large = bench.decoded(bench.kept, larger, bench.asked(bench.phrases, telling=True))
    if not any(True for answer in (*small, *large) for _ in places(answer)):
        raise NotApplicableError("its answers hold no place in the image")
    for one, other in zip(small, large, strict=True):
        _check_scaled(list(places(one)), list(places(other)), ROUNDING * LARGER * max(height, width))


def check_precision(bench: Bench) -> None:
    """Decoders of float32 and of bfloat16 both give finite answers."""
    import torch

    for dtype in (torch.float32, torch.bfloat16):
        decoder = bench.decoder(dtype=dtype)
        scene, routes = _cast_scene(bench.scene(), dtype), [_cast_route(r, dtype) for r in bench.asked(bench.phrases)]
        for answer in bench.decoded(decoder, scene, routes):
            _check(answer, bench, None, f"in {str(dtype).removeprefix('torch.')}, ")


def check_seed(bench: Bench) -> None:
    """Built and asked twice under the same seed, a decoder is the same and says the same."""
    import torch

    one, other = bench.decoder(), bench.decoder()
    for name, tensor in one.state_dict().items():
        if not torch.equal(tensor, other.state_dict()[name]):
            raise BrokenRuleError(f"built twice under one seed, {name} is another tensor")
    pairs = zip(bench.answers(one, bench.phrases), bench.answers(one, bench.phrases), strict=True)
    if fault := next((fault for a, b in pairs if (fault := difference(a, b, near=0))), None):
        raise BrokenRuleError(f"asked twice under one seed, {fault}")


def check_maps(bench: Bench) -> None:
    """A core with one map is as good as a core with five."""
    if not bench.task.spec.needs_image:
        raise NotApplicableError("it needs no image")
    core = tiny_core(pyramid=False)
    decoder = bench.decoder(core=core)
    answers = bench.decoded(decoder, bench.scene(core=core), bench.asked(bench.phrases, core=core))
    for answer in answers:
        _check(answer, bench, None, "with one map, ")


def _check(answer: Output, bench: Bench, size_hw: tuple[int, int] | None, when: str = "") -> None:
    size_hw = size_hw if bench.task.spec.needs_image else None
    try:
        check_output(answer, schema=bench.task.spec.output, phrase="x", size_hw=size_hw, max_items=MAX_ITEMS)
    except BrokenRuleError:
        raise
    except Exception as error:
        from ..guard import fault_text

        raise BrokenRuleError(f"{when}{fault_text(error, bench.home)}") from error


def _check_scaled(small: list[Any], large: list[Any], rounding_px: float) -> None:
    if len(small) != len(large):
        raise BrokenRuleError(f"there are {len(small)} places, and {len(large)} in the larger picture")
    for one, other in zip(small, large, strict=True):
        if isinstance(one, Mask):
            share, other_share = (mask.area / (mask.size_hw[0] * mask.size_hw[1]) for mask in (one, other))
            if abs(share - other_share) > 0.02 + 0.1 * share:
                raise BrokenRuleError(f"a mask has {share:.1%} of the picture, and {other_share:.1%} of the larger one")
            continue
        for near, far in zip(numbers_of(one), numbers_of(other), strict=True):
            if abs(far - LARGER * near) > rounding_px:
                raise BrokenRuleError(
                    f"what is at {near:.4g} pixels is at {far:.4g} when the picture is twice as large"
                )


def _cast_scene(scene: Scene, dtype: torch.dtype) -> Scene:
    def view(size: int) -> Tensor:
        return scene.view(size).to(dtype)

    return replace(scene, maps=tuple(grid.to(dtype) for grid in scene.maps), view=view)


def _cast_route(route: Route, dtype: torch.dtype) -> Route:
    return replace(route, slots=route.slots.to(dtype), embeddings=route.embeddings.to(dtype))
