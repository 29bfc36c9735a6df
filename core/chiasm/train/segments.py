"""COCO's two notations of a mask, polygons and RLE, as a bool array; refuses shapes that do not fit the image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from chiasm_registry.errors import ChiasmError, InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

REACH = 4.0  # polygon coordinates may lie this many image sides away, as annotation tools write them


def segment_to_mask(segment: Any, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """(h, w) bool array of a COCO `segmentation`; InputError if it is neither form or does not fit `size_hw`."""
    try:
        return polygons_to_mask(segment, size_hw) if isinstance(segment, list) else _rle_to_mask(segment, size_hw)
    except (ChiasmError, ValueError, TypeError, KeyError) as error:
        raise InputError("a segmentation is neither polygons nor a run-length mask of the image's size") from error


def polygons_to_mask(polygons: list[Any], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill polygons given as flat lists x0, y0, x1, y1, ... in pixels, as COCO's own tools fill them."""
    import numpy as np
    from chiasm_registry.geometry import rle_to_mask
    from pycocotools import mask as coco

    height, width = size_hw
    if not polygons:
        return np.zeros(size_hw, dtype=bool)
    checked = [_polygon(flat, REACH * max(size_hw)) for flat in polygons]
    whole = coco.merge(coco.frPyObjects(checked, height, width))
    return rle_to_mask({"size": list(size_hw), "counts": whole["counts"].decode("ascii")})


def _polygon(flat: Any, reach: float) -> list[float]:
    numbers = [float(value) for value in flat]
    if len(numbers) < 6 or len(numbers) % 2 or not all(math.isfinite(value) for value in numbers):
        raise ValueError("a polygon wants three points or more")
    if max(abs(value) for value in numbers) > reach:
        raise ValueError("a polygon leaves the image by far")
    return numbers


def _rle_to_mask(segment: Any, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    from chiasm_registry.geometry import check_rle, mask_to_rle, rle_to_mask

    if isinstance(segment["counts"], list):
        segment = mask_to_rle(_runs_to_mask(segment["counts"], size_hw))
    check_rle(segment, size_hw)
    return rle_to_mask(segment)


def _runs_to_mask(runs: list[Any], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    import numpy as np

    if not all(isinstance(run, int) and run >= 0 for run in runs) or sum(runs) != size_hw[0] * size_hw[1]:
        raise ValueError("the runs do not fill the image")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(size_hw, order="F")
