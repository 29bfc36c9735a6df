"""Requests in words held against what they should route: the right tasks, in the right order, for the right phrases.

python benchmarks/routed.py --requests DIR/requests.json --images DIR/images [--model nano] [--limit N] [--json]
reads what `referring_scenes.py` or `phrased.py` writes. `tasks` is the share of requests that were routed to just the
tasks they ask for, in their order; `phrases` the share in which the phrases are those of the request, too, whatever
their case. A plain question asks for no task.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import chiasm


def judge(result: chiasm.Result, routed: Sequence[tuple[str, Sequence[str]]]) -> tuple[bool, bool]:
    """Whether an answer routed to the right tasks, and the right phrases to them."""
    wanted: dict[str, list[str]] = defaultdict(list)
    for phrase, tasks in routed:
        for task in tasks:
            wanted[task].append(phrase.lower())
    told = {task: [output.phrase.lower() for output in outputs] for task, outputs in result.outputs.items()}
    return list(told) == list(wanted), told == dict(wanted)


def _shares(judged: Sequence[tuple[bool, bool]]) -> dict[str, float]:
    count = len(judged)
    return {"requests": count, "tasks": sum(a for a, _ in judged) / count, "phrases": sum(b for _, b in judged) / count}


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask every request of its picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    model = chiasm.load(asked.model, device=asked.device)
    rows: list[dict[str, Any]] = json.loads(asked.requests.read_text(encoding="utf-8"))[: asked.limit]
    rows = [row for row in rows if row["prompt"] is not None]  # the others are for calls that name a task
    kinds: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    wrong = []
    for start in range(0, len(rows), 16):
        some = rows[start : start + 16]
        photos = [None if row["image"] is None else asked.images / row["image"] for row in some]
        answers = [model.ask(photo, row["prompt"]) for photo, row in zip(photos, some, strict=True)]
        for row, answer in zip(some, answers, strict=True):
            right = judge(answer, row["routed"])
            kinds[row["kind"]].append(right)
            kinds["all"].append(right)
            if not right[1]:
                told = {task: [output.phrase for output in outputs] for task, outputs in answer.outputs.items()}
                wrong.append({**row, "answer": answer.text, "told": told})
    found = {kind: _shares(some) for kind, some in sorted(kinds.items())}
    if asked.json:
        print(json.dumps({"figures": found, "wrong": wrong}, ensure_ascii=False))
        return
    for kind, figures in found.items():
        print(f"{kind:10}" + "  ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    for row in wrong[:10]:
        print(f"  {row['prompt']!r} -> {row['told']}")


if __name__ == "__main__":
    main()
