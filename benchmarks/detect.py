"""Eighty names in one photograph: `model.detect` next to its bare modules, and to a peer in the same run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import chiasm
import torch
from bare import Bare
from chiasm.train.language import table
from measure import Row, as_json, as_text, machine, take_turns
from PIL import Image

DETECT, BARE, PEER = "chiasm detect", "its bare modules", "Grounding DINO tiny, forward"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    given = _arguments(arguments)
    torch.set_num_threads(given.threads)
    picture = _photograph(given.image)
    names = list(table("names.yaml")["same"])[: given.names]
    model = chiasm.load(given.model)
    rows = compare(model, picture, names, given.runs)
    if given.peer_runs:
        from peer import GroundingDino

        rows += take_turns({PEER: GroundingDino(picture, names)}, given.peer_runs)
    size = f"{picture.width}x{picture.height}"
    about = {"names": len(names), "image": size, "threads": given.threads, "machine": machine()}
    of = {row.what: row.median_s for row in rows}
    ratios = {"detect_over_bare": of[DETECT] / of[BARE]}
    if PEER in of:
        ratios["peer_over_detect"] = of[PEER] / of[DETECT]
    notes = [f"{name.replace('_', ' ')}: {ratio:.2f}" for name, ratio in ratios.items()]
    print(as_json(rows, {**about, **ratios}) if given.json else as_text(rows, notes))
    return 0


def compare(model: chiasm.Model, picture: Image.Image, names: Sequence[str], runs: int) -> list[Row]:
    """The platform and its own modules, in turns."""
    calls: dict[str, Callable[[], object]] = {
        DETECT: lambda: model.detect(picture, names),
        BARE: Bare(model, picture, names),
    }
    return take_turns(calls, runs)


def _photograph(path: Path | None) -> Image.Image:
    """The picture at `path`, or a cat that comes with scikit-image."""
    if path is not None:
        return Image.open(path).convert("RGB")
    from skimage import data

    return Image.fromarray(data.chelsea())


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="nano", help="an embedded model or a checkpoint folder")
    parser.add_argument("--image", type=Path, help="a photograph; without it a cat of scikit-image")
    parser.add_argument("--names", type=int, default=80, help="how many of COCO's names are asked")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--peer-runs", type=int, default=3, help="0 leaves the peer out")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
