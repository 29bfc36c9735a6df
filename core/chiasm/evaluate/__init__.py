"""Measuring: COCO files behind guards, scoring by pycocotools in a process of its own, guided and free evaluation.

    rows, segments -> coco, results -> child, score -> report
    photos, parts, ranks -> guided | requests, free, routing -> run
"""

from __future__ import annotations
