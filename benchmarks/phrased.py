"""Requests for `routed.py` from phrasings that no training holds, and from plain questions, which should route nothing.

python benchmarks/phrased.py --images DIR --out requests.json [--each 2] [--questions FILE]
   [--phrasings FILE detection,segmentation] [--phrasings FILE generation --without-image generation] [--names FILE]
A phrasing has `{names}` where one or two names are put; a question file is one question a line. The photographs of the
folder are asked in turn.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

from chiasm.train.language import table

ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}


def lines(path: Path) -> list[str]:
    """The entries of a list; a line that begins with # is a comment."""
    rows = path.read_text(encoding="utf-8").splitlines()
    return [row.strip() for row in rows if row.strip() and not row.startswith("#")]


def phrased(template: str, tasks: Sequence[str], names: Sequence[str], *, most: int, rng: Random) -> dict[str, Any]:
    """A request for one name, or two."""
    chosen = rng.sample(names, rng.randint(1, most))
    said = [f"a {name}" if most == 1 else f"the {name}" for name in chosen]
    prompt = template.replace("{names}", " and ".join(said))
    return {"kind": tasks[-1], "prompt": prompt, "routed": [[name, list(tasks)] for name in chosen]}


def requests(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All of them, each with its photograph or none."""
    rng = Random(given.seed)
    photos = cycle(sorted(path.name for path in given.images.iterdir() if path.suffix.lower() in ENDINGS))
    taught = [name for name in table("names.yaml")["same"] if not name.endswith("s")]
    names = lines(given.names) if given.names else taught
    for path, tasks in given.phrasings or ():
        chain = tasks.split(",")
        blind = chain[-1] in (given.without_image or ())
        for template in lines(Path(path)):
            for _ in range(given.each):
                row = phrased(template, chain, names, most=1 if blind else 2, rng=rng)
                yield {"image": None if blind else next(photos), **row}
    for path in given.questions or ():
        for question in lines(path):
            for _ in range(given.each):
                yield {"image": next(photos), "kind": "question", "prompt": question, "routed": []}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--phrasings", nargs=2, action="append", metavar=("FILE", "TASKS"))
    parser.add_argument("--names", type=Path, help="names to ask for, one a line, in place of the 80 of COCO")
    parser.add_argument("--questions", type=Path, action="append")
    parser.add_argument("--without-image", action="append", help="a task that is asked without an image")
    parser.add_argument("--each", type=int, default=2, help="requests of each phrasing or question")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    rows = list(requests(given))
    given.out.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    print(f"{len(rows)} requests in {given.out}")


if __name__ == "__main__":
    main()
