"""What chiasm makes of the photographs in scikit-image: pictures and JSON in demo-output/, one line for each."""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from pathlib import Path

import chiasm

OUT = Path("demo-output")
SURE = 0.5  # a picture for people shows what the model is sure of; the default threshold finds more
SHOWS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("cat", "chelsea.png", ("cat", "bicycle"), "Find the cat and the horse, please."),
    ("coffee", "coffee.png", ("cup", "spoon", "dining table"), "Can you find the cup and the bottle?"),
    ("motorcycle", "motorcycle_left.png", ("motorcycle", "bicycle", "chair"), "Where is the motorcycle?"),
    ("astronaut", "astronaut.png", ("person", "tie"), "What is in the picture?"),
    ("rocket", "rocket.jpg", ("airplane", "person", "unicorn"), "Please find the car and the elephant."),
)


def main() -> int:
    """Find the given names, outline them, then ask in words, in each photograph."""
    photographs = samples()
    OUT.mkdir(exist_ok=True)
    model = chiasm.load("nano")
    for title, file, names, question in SHOWS:
        start = time.perf_counter()
        found = model.detect(photographs / file, names, threshold=SURE)
        keep(found, title, f"find {', '.join(names)}", start)
        if "segmentation" in set(model.table.tasks) - model.untrained:
            start = time.perf_counter()
            outlined = model.segment(photographs / file, names, threshold=SURE)
            keep(outlined, f"{title}-outlined", f"outline {', '.join(names)}", start)
        start = time.perf_counter()
        answer = model.ask(photographs / file, question, threshold=SURE)
        keep(answer, f"{title}-asked", f"«{question}» {answer.text}", start)
    return 0


def samples() -> Path:
    """The folder of photographs in the wheel; looking it up imports nothing of scikit-image."""
    package = find_spec("skimage")
    if package is None or package.origin is None:
        sys.exit("the demo needs scikit-image's sample photographs; run: pip install 'chiasm[demo]'")
    return Path(package.origin).parent / "data"


def keep(result: chiasm.Result, title: str, request: str, start: float) -> None:
    """Write the picture and the JSON, and say what was found."""
    seconds = time.perf_counter() - start
    picture = OUT / f"{title}.png"
    result.save(picture)
    result.save(picture.with_suffix(".json"))
    things = ", ".join(
        thing.label if thing.score is None else f"{thing.label} {thing.score:.2f}" for thing in result.objects
    )
    print(f"{picture}  {request}  ->  {things or 'nothing'}  ({seconds:.2f} s)")


if __name__ == "__main__":
    sys.exit(main())
