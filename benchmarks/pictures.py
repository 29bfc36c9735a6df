"""How long a picture takes, and whether pictures are copies of what was learned from."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure import as_text, machine, take_turns

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

SIDE = 16  # pixels a side at which two pictures are held against each other
MOST = 400  # crops of a name


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    import chiasm
    import torch

    given = _arguments(arguments)
    torch.set_num_threads(given.threads)
    model = chiasm.load(given.model, tasks=["generation"])
    rows = take_turns({f"draw, {given.threads} threads": lambda: model.draw("a red bus")}, given.runs)
    copies = _copies(model, given) if given.train else {}
    if given.json:
        about = {"machine": machine(), "seconds": rows[0].median_s, "copies": copies}
        print(json.dumps(about, indent=1))
    else:
        print(as_text(rows, [f"{what}: {distance:.3f}" for what, distance in copies.items()]))
    return 0


def _copies(model: Any, given: argparse.Namespace) -> dict[str, float]:
    """Median distance to the nearest crop of the same name that was learned from: of pictures, of unseen true crops.

    A picture that is a copy has nearly none; one that is no copy has as much as a true thing that was never seen.
    """
    from chiasm.evaluate.coco import read_coco
    from chiasm.evaluate.pictures import PicturePlan, real_crops

    names = tuple(name.strip() for name in given.names.split(","))
    learned, unseen = (
        real_crops(PicturePlan(read_coco(folder.with_suffix(".json")), folder, "", names, MOST), names)
        for folder in (given.train, given.unseen)
    )
    found: dict[str, list[float]] = {"drawn": [], "unseen": []}
    for name in names:
        drawn = [model.draw(name, seed=seed).pictures[0].image for seed in range(given.seeds)]
        known = [small(crop) for crop in learned[name]]
        known += [picture[:, ::-1] for picture in known]  # training mirrors
        found["drawn"] += [nearest(small(picture), known) for picture in drawn]
        found["unseen"] += [nearest(small(crop), known) for crop in unseen[name][: given.seeds]]
    return {f"nearest learned crop, {what}": statistics.median(values) for what, values in found.items() if values}


def small(picture: Image.Image) -> NDArray[np.float32]:
    """(16, 16, 3), without its mean and of deviation one: light and contrast do not make another picture."""
    import numpy as np

    values = np.asarray(picture.convert("RGB").resize((SIDE, SIDE), 4), dtype=np.float32)
    return (values - values.mean()) / max(float(values.std()), 1e-6)


def nearest(picture: NDArray[np.float32], others: Sequence[NDArray[np.float32]]) -> float:
    """The smallest root mean square difference; infinite without others."""
    return min((float(((picture - other) ** 2).mean()) ** 0.5 for other in others), default=float("inf"))


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="nano", help="an embedded model or a checkpoint folder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--train", type=Path, help="the photographs learned from; FOLDER.json has their boxes")
    parser.add_argument("--unseen", type=Path, help="photographs that were not, in the same form")
    parser.add_argument("--names", default="bus, dog, horse, pizza, car, elephant")
    parser.add_argument("--seeds", type=int, default=10, help="pictures of each name")
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    given = parser.parse_args(arguments)
    if (given.train is None) != (given.unseen is None):
        parser.error("--train and --unseen belong together")
    return given


if __name__ == "__main__":
    sys.exit(main())
