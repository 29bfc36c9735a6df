"""One evaluation from the files to the report: each process asks its share of the images, the first one scores."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import file_digest, sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from chiasm_registry.errors import InputError, shown

from ..checkpoint.manifest import CONFIG, MANIFEST
from ..files import write_json, write_whole
from ..models import model_folder
from .coco import CocoSet
from .free import Free, asked_pairs, free_detections, routing_report
from .guided import Guided, detections
from .parts import Answer, Parts
from .photos import Photo, find_photos
from .phrasings import read_phrasings
from .ranks import Ranks, gather
from .report import as_object
from .requests import Asker, names_in_images
from .score import Scores, check_scorable, score_results

if TYPE_CHECKING:
    from PIL import Image

    from ..model import Model


class Asks(Protocol):
    """A mode of evaluation."""

    def answer(self, image_ids: Sequence[int], pictures: Sequence[Image.Image]) -> list[Answer]: ...


@dataclass(frozen=True)
class Plan:
    """What is evaluated, and how; everything but the model."""

    truth: CocoSet
    images: Path
    mode: str = "guided"
    tasks: tuple[str, ...] = ("detection",)
    iou_type: str = "bbox"
    batch_size: int = 8
    limit: int | None = None
    out: Path | None = None
    prompts: Path | None = None
    skip_missing: bool = False
    tasks_from: tuple[Path, ...] = ()  # files of tasks that the model is loaded with

    def pins(self, model: str) -> dict[str, str]:
        """What a resumed run must share with the interrupted one; limit, batch size and processes may change."""
        pins = {
            "model": model_identity(model), "gt": self.truth.sha256, "images": str(self.images.resolve()),
            "mode": self.mode, "tasks": "+".join(self.tasks), "iou_type": self.iou_type,
        }
        if self.tasks_from:
            pins["tasks_from"] = "+".join(_file_identity(path) for path in self.tasks_from)
        return {**pins, "prompts": read_phrasings(self.prompts).sha256} if self.mode == "free" else pins


@dataclass(frozen=True)
class Outcome:
    """The report for programs, the scores for the table, and what a person should know."""

    report: dict[str, Any]
    scores: Scores
    notes: tuple[str, ...]


def model_identity(name_or_path: str) -> str:
    """The model's name and a hash of what tells its weights from others."""
    try:
        told = _weights_told(model_folder(name_or_path))
    except (InputError, OSError):
        return name_or_path  # loading will say what is wrong with it
    return f"{name_or_path}@{sha256(told).hexdigest()[:16]}"


def _weights_told(folder: Path) -> bytes:
    """The manifest, which holds the weights' sums; of a foreign folder its config, and the files' sizes and times."""
    if (folder / MANIFEST).is_file():
        return (folder / MANIFEST).read_bytes()
    files = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin"))
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return (folder / CONFIG).read_bytes() + repr(stats).encode()


def _file_identity(path: Path) -> str:
    """A task file's name and hash."""
    try:
        with path.open("rb") as file:
            return f"{path.name}@{file_digest(file, 'sha256').hexdigest()[:16]}"
    except OSError:
        return path.name  # loading will say what is wrong with it


class Evaluation:
    """A plan with its photographs found and its folder opened: refuses what cannot work before a model is loaded."""

    def __init__(self, plan: Plan, model: str, ranks: Ranks) -> None:
        self.plan, self.model_name, self.ranks = plan, model, ranks
        chosen = plan.truth.only_images({image.id for image in plan.truth.images[: plan.limit]})
        check_scorable(chosen, plan.iou_type)
        self.photos, self.faults = find_photos(chosen, plan.images, skip_missing=plan.skip_missing)
        check_scorable(chosen.only_images({photo.image.id for photo in self.photos}), plan.iou_type)
        self.parts = Parts(plan.out, plan.pins(model), ranks.rank, partial(_used, plan))
        share = self.photos[ranks.rank :: ranks.world]
        self.todo = [photo for photo in share if photo.image.id not in self.parts.done]

    def run(self, model: Model, advance: Callable[[int], None] = lambda images: None) -> Outcome | None:
        """Ask what is left to ask and score it; None in every process but the first."""
        started = time.perf_counter()
        mode = _mode(self.plan, model)
        try:
            for start in range(0, len(self.todo), self.plan.batch_size):
                batch = self.todo[start : start + self.plan.batch_size]
                self.parts.add(self._answers(mode, batch))
                advance(len(batch))
        finally:
            self.parts.close()
        asked_s = time.perf_counter() - started
        wanted = [photo.image.id for photo in self.photos]
        answers = gather({i: self.parts.done[i] for i in wanted if i in self.parts.done}, self.ranks)
        if answers is None:
            return None
        return self._finish({i: answers[i] for i in wanted}, asked_s)

    def _answers(self, mode: Asks, batch: Sequence[Photo]) -> dict[int, Answer]:
        pictures, answers = {}, {}
        for photo in batch:
            try:
                pictures[photo.image.id] = photo.open()
            except InputError as fault:
                if not self.plan.skip_missing:
                    raise
                answers[photo.image.id] = {"skipped": str(fault)}
        if pictures:
            answers.update(zip(pictures, mode.answer(list(pictures), list(pictures.values())), strict=True))
        return answers

    def _finish(self, answers: Mapping[int, Answer], asked_s: float) -> Outcome:
        faults = [*self.faults, *(a["skipped"] for a in answers.values() if "skipped" in a)]
        answers = {image_id: answer for image_id, answer in answers.items() if "skipped" not in answer}
        notices = Counter(notice for answer in answers.values() for notice in set(answer["notices"]))
        started = time.perf_counter()
        scores, extra = _measured(self.plan, answers)
        timings = {"asking_s": asked_s, "images_asked": len(self.todo), "scoring_s": time.perf_counter() - started}
        report = as_object(scores, mode=self.plan.mode, images=len(answers), timings=timings)
        report |= {"model": self.model_name, "tasks": list(self.plan.tasks), **extra}
        report |= {"skipped": len(faults), "notices": dict(notices)}
        if self.plan.out is not None:
            write_json(self.plan.out / "report.json", report)
        told = [f"{count} images: {text}" for text, count in notices.most_common(10)]
        told += [f"skipped: {shown(fault, 150)}" for fault in faults]
        return Outcome(report, scores, (*self.plan.truth.notes, *told))


def _used(plan: Plan, image_id: int, answer: Answer) -> None:
    """What `_finish` does with an answer, so that one of another form fails here."""
    Counter(answer["notices"])
    detections(image_id, answer["rows"])
    if plan.mode == "free":
        detections(image_id, answer["guided"])
        routing_report({image_id: answer}, names_in_images(plan.truth.only_images({image_id})))


def _mode(plan: Plan, model: Model) -> Asks:
    guided = Guided(model, plan.truth, plan.tasks, plan.iou_type)
    if plan.mode == "guided":
        return guided
    asker = Asker(plan.truth, read_phrasings(plan.prompts))
    return Free(model, plan.truth, asker, guided, plan.tasks, plan.iou_type)


def _measured(plan: Plan, answers: Mapping[int, Answer]) -> tuple[Scores, dict[str, Any]]:
    """The scores, and in free mode what stands beside them."""
    truth = plan.truth.only_images(answers.keys())
    if plan.mode == "guided":
        found = [one for image_id, answer in answers.items() for one in detections(image_id, answer["rows"])]
        extra: dict[str, Any] = {}
    else:
        found = free_detections(answers, "rows")
        truth = truth.only_pairs(asked_pairs(answers, {c.name: c.id for c in truth.categories}))
        same = score_results(truth, free_detections(answers, "guided"), plan.iou_type)
        extra = {"guided_on_same": same.stats, "routing": routing_report(answers, names_in_images(plan.truth))}
    if plan.out is not None:
        rows = json.dumps([detection.row() for detection in found])
        write_whole(plan.out / "detections.json", rows.encode())
    return score_results(truth, found, plan.iou_type), extra
