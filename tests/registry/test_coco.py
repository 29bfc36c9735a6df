"""The names are COCO's, in its order."""

from __future__ import annotations

import json
from pathlib import Path

from chiasm_registry.coco import COCO_NAMES


def test_they_are_eighty_with_spaces() -> None:
    assert len(set(COCO_NAMES)) == len(COCO_NAMES) == 80
    assert (COCO_NAMES[0], COCO_NAMES[9], COCO_NAMES[-1]) == ("person", "traffic light", "toothbrush")


def test_they_stand_in_the_order_of_its_files(shared: Path) -> None:
    truth = json.loads((shared / "data" / "photos" / "val.json").read_text(encoding="utf-8"))
    assert tuple(row["name"] for row in sorted(truth["categories"], key=lambda row: row["id"])) == COCO_NAMES
