"""From the command line to an answer, each time in a new process: what a person waits for."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from measure import as_json, as_text, machine, take_turns

# without a collector that goes through what was just loaded, as predict does
FLOOR = "import gc; gc.disable(); from transformers import InternVLForConditionalGeneration; gc.freeze()"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    given = _arguments(arguments)
    with TemporaryDirectory() as folder:
        rows = take_turns(commands(given.model, _photograph(given.image), Path(folder)), given.runs)
    notes = ["first: with the files of the packages not yet in memory, if this machine has just been started"]
    print(as_json(rows, {"machine": machine()}) if given.json else as_text(rows, notes))
    return 0


def commands(model: str, image: Path, out: Path) -> dict[str, Callable[[], object]]:
    """What is run: three commands of ours, and the imports that no program on these libraries gets around."""
    predict = ["predict", str(image), "--model", model, "--find", "cat, dog, person", "--out", str(out)]
    return {
        "chiasm predict": lambda: _run("-m", "chiasm.cli", *predict),
        "chiasm plugins list": lambda: _run("-m", "chiasm.cli", "plugins", "list"),
        "chiasm --help": lambda: _run("-m", "chiasm.cli", "--help"),
        "importing torch alone": lambda: _run("-c", "import torch"),
        "importing transformers' InternVL": lambda: _run("-c", FLOOR),
    }


def _run(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)


def _photograph(path: Path | None) -> Path:
    if path is not None:
        return path
    from importlib.util import find_spec

    package = find_spec("skimage")
    if package is None or package.origin is None:
        sys.exit("give --image FILE, or install scikit-image for its photographs")
    return Path(package.origin).parent / "data" / "chelsea.png"


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="nano", help="an embedded model or a checkpoint folder")
    parser.add_argument("--image", type=Path, help="a photograph; without it a cat of scikit-image")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="one object on stdout")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
