"""What is told of an evaluation: COCO's twelve lines, a table of categories, one JSON object; never a -1."""

from __future__ import annotations

from typing import Any

from chiasm_registry.errors import shown

from .score import CategoryScore, Scores

MAX_NAME = 60  # characters in a table
_LINES = (
    ("AP", "Average Precision  (AP)", "0.50:0.95", "all", 100),
    ("AP50", "Average Precision  (AP)", "0.50", "all", 100),
    ("AP75", "Average Precision  (AP)", "0.75", "all", 100),
    ("APs", "Average Precision  (AP)", "0.50:0.95", "small", 100),
    ("APm", "Average Precision  (AP)", "0.50:0.95", "medium", 100),
    ("APl", "Average Precision  (AP)", "0.50:0.95", "large", 100),
    ("AR1", "Average Recall     (AR)", "0.50:0.95", "all", 1),
    ("AR10", "Average Recall     (AR)", "0.50:0.95", "all", 10),
    ("AR100", "Average Recall     (AR)", "0.50:0.95", "all", 100),
    ("ARs", "Average Recall     (AR)", "0.50:0.95", "small", 100),
    ("ARm", "Average Recall     (AR)", "0.50:0.95", "medium", 100),
    ("ARl", "Average Recall     (AR)", "0.50:0.95", "large", 100),
)


def figure(value: float | None) -> str:
    """Three decimals, or the words for what has no truth to be measured on."""
    return "not measurable" if value is None else f"{value:.3f}"


def twelve_lines(scores: Scores) -> list[str]:
    """pycocotools' summary, line by line."""
    return [
        f" {title} @[ IoU={iou:<9} | area={area:>6} | maxDets={limit:>3} ] = {figure(scores.stats[key])}"
        for key, title, iou, area, limit in _LINES
    ]


def category_table(per_category: tuple[CategoryScore, ...]) -> list[str]:
    """A row a category: name, objects in the truth, AP, AP50."""
    names = [shown(row.name, MAX_NAME) for row in per_category]  # a terminal obeys some characters of names
    width = max([len("category"), *map(len, names)])
    rows = [f"{'category':<{width}}  objects              AP            AP50"]
    for name, row in zip(names, per_category, strict=True):
        rows.append(f"{name:<{width}}  {row.boxes:>7}  {figure(row.ap):>14}  {figure(row.ap50):>14}")
    return rows


def as_text(report: dict[str, Any], scores: Scores) -> str:
    """The report for people: twelve lines, the table, and in free mode the routing figures."""
    lines = [*twelve_lines(scores), "", *category_table(scores.per_category)]
    for key in ("guided_on_same", "routing"):
        if key in report:
            lines += ["", f"{key}:"]
            lines += [f"  {name:<24} {figure(value)}" for name, value in report[key].items()]
    return "\n".join(lines)


def as_object(scores: Scores, *, mode: str, images: int, timings: dict[str, float]) -> dict[str, Any]:
    """The report for programs; what is not measurable is null."""
    return {
        "mode": mode,
        "images": images,
        "categories": len(scores.per_category),
        "iou_type": scores.iou_type,
        scores.iou_type: scores.stats,
        "per_category": {
            row.name: {"objects": row.boxes, "AP": row.ap, "AP50": row.ap50} for row in scores.per_category
        },
        "timings": timings,
    }
