"""Masks held against annotated ones: of true boxes, of a click in the middle, of a phrase alone.

python benchmarks/masks.py --model FOLDER --gt val.json --images val [--limit 100] [--device cuda]
Only objects whose mask the file knows count; crowds do not. Sizes are COCO's, by the mask's pixels.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chiasm
import numpy as np
from chiasm.train.data import Record, read_records

LARGE, MEDIUM = 96**2, 32**2  # pixels


@dataclass(frozen=True)
class Row:
    """One object's or phrase's overlap; `kind` is what was asked."""

    kind: str
    size: str
    iou: float
    told: float  # the score
    image: str
    name: str


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """IoU of two bool arrays; 1 if both are empty."""
    union = int((a | b).sum())
    return 1.0 if union == 0 else float((a & b).sum()) / union


def middle(mask: np.ndarray) -> tuple[float, float]:
    """The pixel of a mask that lies deepest in it, by shrinking the mask until nothing is left."""
    inside = np.pad(mask, 1)
    while True:
        smaller = inside[1:-1, 1:-1] & inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
        if not smaller.any():
            break
        inside = np.pad(smaller, 1)
    rows, columns = np.nonzero(inside[1:-1, 1:-1])
    return float(columns[0]) + 0.5, float(rows[0]) + 0.5


def size_of(mask: np.ndarray) -> str:
    """COCO's word for a mask's size."""
    area = int(mask.sum())
    return "large" if area >= LARGE else "medium" if area >= MEDIUM else "small"


def measure(model: chiasm.Model, record: Record, *, phrases: bool) -> list[Row]:
    """All rows of one photograph."""
    truths = {
        k: mask
        for k, thing in enumerate(record.objects)
        if not thing.crowd and (mask := record.mask(k)) is not None and mask.any()
    }
    if not truths:
        return []
    boxes = [record.objects[k].box_xyxy for k in truths]
    found = model.segment(record.path, boxes=boxes).outputs["segmentation"]
    clicked = model.segment(record.path, points=[[middle(mask)] for mask in truths.values()]).outputs["segmentation"]
    rows = []
    for kind, outputs in (("box", found), ("click", clicked)):
        for (k, truth), output in zip(truths.items(), outputs, strict=True):
            item: Any = output.items[0]  # type: ignore[attr-defined]
            iou = overlap(item.mask.numpy(), truth)
            rows.append(Row(kind, size_of(truth), iou, item.score, record.image_id, record.objects[k].name))
    return [*rows, *(_phrases(model, record, truths) if phrases else [])]


def _phrases(model: chiasm.Model, record: Record, truths: dict[int, np.ndarray]) -> list[Row]:
    """Names all of whose objects have masks, crowds too: what the phrase alone covers against their union."""
    names = dict.fromkeys(thing.name for thing in record.objects)
    rows = []
    for name in names:
        own = [k for k, thing in enumerate(record.objects) if thing.name == name]
        masks = [record.mask(k) for k in own]
        if any(mask is None for mask in masks) or not set(own) & truths.keys():
            continue
        whole = np.logical_or.reduce([mask for mask in masks if mask is not None])
        output: Any = model.run("segmentation", record.path, [name]).outputs["segmentation"][0]
        parts = [item.mask.numpy() for item in output.items]
        seen = np.logical_or.reduce(parts) if parts else np.zeros_like(whole)
        score = max((item.score for item in output.items), default=0.0)
        rows.append(Row("phrase", size_of(whole), overlap(seen, whole), score, record.image_id, name))
    return rows


def table(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Mean IoU by what was asked and by size, and how far the told score is from the truth."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.kind, "all"].append(row)
        groups[row.kind, row.size].append(row)
    answer: dict[str, dict[str, float]] = {}
    for (kind, size), some in sorted(groups.items()):
        ious = np.array([row.iou for row in some])
        gap = float(np.abs(ious - np.array([row.told for row in some])).mean())
        answer[f"{kind} {size}"] = {
            "objects": len(some), "mean_iou": round(float(ious.mean()), 4), "over_half": round((ious > 0.5).mean(), 4),
            "score_error": round(gap, 4),
        }
    return answer


def main(arguments: Sequence[str] | None = None) -> None:
    """Print one line a group; `--json` prints it all for programs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--gt", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=None, help="photographs with masks, from the front")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--no-phrases", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(arguments)
    model = chiasm.load(asked.model, device=asked.device)
    records = read_records(asked.gt, asked.images, report=lambda line: None)
    records = [record for record in records if any(segment is not None for segment in record.segments)][: asked.limit]
    rows: list[Row] = []
    for number, record in enumerate(records, 1):
        rows += measure(model, record, phrases=not asked.no_phrases)
        if number % 25 == 0:
            print(f"{number} of {len(records)} photographs", file=sys.stderr)
    found = table(rows)
    if asked.json:
        print(json.dumps(found))
        return
    for group, figures in found.items():
        print(f"{group:16}" + "  ".join(f"{name} {value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
