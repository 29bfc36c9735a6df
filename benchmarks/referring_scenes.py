"""Scenes with one thing among others, composed of annotated photographs, with the truth: a referring set and requests.

python benchmarks/referring_scenes.py --gt val.json --images val --out DIR [--count 300] [--seed 0] [--phrasings FILE]
`DIR/referring.json` is what `chiasm eval --referring` reads, its pictures stand in `DIR/images`.
`DIR/requests.json` lists requests in words with what should be routed: `{image, kind, prompt, routed: [[phrase,
[task, ...]], ...]}`. Photographs and cut-outs are those of the file given: take one that no training has seen.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from chiasm.train.cutouts import CutoutBank, cut_out
from chiasm.train.data import Record, read_records
from chiasm.train.language import phrasing
from chiasm.train.photos import PhotoStore
from chiasm.train.render import collate_plans, render
from chiasm.train.requests import Composer, Request, Routed
from chiasm.train.scenes import Settings, ViewPlan, item_rng, plan
from chiasm.train.shapes import Shapes
from chiasm_registry import Mask
from chiasm_registry.discovery import discover
from PIL import Image

SIZE = 448
SCENES = Settings(paste=0.9, pastes=4, twins=0.6, tint=0.5, grey=0.0, colour=0.15, moved=0.3, scale=(0.8, 1.2))
EMPTY = 0.12  # of the referring requests mean nothing in their picture
KINDS = ("refer", "refer", "chained", "chained", "task")


class Scenes:
    """Makes the pictures and the truth of one annotation file."""

    def __init__(self, records: Sequence[Record], bank: CutoutBank, templates: Sequence[str]) -> None:
        self.records, self.bank = records, bank
        self.store = PhotoStore(records, size=SCENES.source)
        names = sorted({thing.name for record in records for thing in record.objects})
        self.composer = Composer(names, records, tasks=[task.spec for task in discover().tasks.values()])
        self.templates = [phrasing(template.rstrip(".?!")) for template in templates]

    def view(self, number: int, rng: Random) -> ViewPlan:
        """A planned view of the record whose turn it is."""
        return plan(self.records, number % len(self.records), rng, SCENES, self.bank.index)

    def picture(self, view: ViewPlan) -> Image.Image:
        """The view as a picture."""
        batch = collate_plans([view], source=SCENES.source)
        photos, index = self.store.batch(batch["tile_photo"])
        pixels = render(photos, self.bank.pixels, {**batch, "tile_photo": index}, SIZE)[0]
        return Image.fromarray((pixels * 255).round().byte().permute(1, 2, 0).numpy())

    def referrals(self, view: ViewPlan, record: Record, rng: Random) -> list[tuple[str, Any]]:
        """Phrases with their masks as run-length codes, None for what is not there."""
        shapes, found = Shapes(view, self.records, self.bank.index), []
        facts = self.composer.facts(record, view.objects)
        for referred in self.composer.referrer.phrases(facts, 4, rng):
            mask = shapes(referred.match)
            if mask is not None and mask.sum() >= 200:
                found.append((referred.text, dict(Mask.from_numpy(mask).rle)))
        if found and rng.random() < EMPTY * len(found):
            word = self.composer.asker.absent(facts, rng)
            found += [(word, None)] if word else []
        return found

    def request(self, view: ViewPlan, record: Record, rng: Random) -> Request:
        """One request in words."""
        kind = rng.choice(KINDS)
        if self.templates and kind == "refer":
            facts = self.composer.facts(record, view.objects)
            referred = self.composer.referrer.phrases(facts, 1, rng)
            if referred:
                verb = rng.choice([verb for verb in self.composer.verbs.others if verb.spec.needs_image])
                prompt, phrase = self.composer.referrer.prompt(referred[0], rng.choice(self.templates), rng)
                return Request("refer", prompt, (Routed(phrase, (referred[0].match,), verb.chain),))
        return self.composer.compose(record, view.objects, rng, kind)


def write(scenes: Scenes, out: Path, count: int, seed: int) -> tuple[int, int]:
    """Write everything; how many phrases and requests there are."""
    (out / "images").mkdir(parents=True, exist_ok=True)
    images, referrals, requests = [], [], []
    for number in range(count):
        rng = item_rng(seed, number)
        view = scenes.view(number, rng)
        record = scenes.records[number % len(scenes.records)]
        found, request = scenes.referrals(view, record, rng), scenes.request(view, record, rng)
        name = f"{number:05}.png"
        scenes.picture(view).save(out / "images" / name)
        images.append({"id": number, "file_name": name, "height": SIZE, "width": SIZE})
        referrals += [{"image_id": number, "phrase": text, "segmentation": mask} for text, mask in dict(found).items()]
        routed = [[part.phrase, list(part.tasks)] for part in request.answer if isinstance(part, Routed)]
        shown = name if request.image else None
        requests.append({"image": shown, "kind": request.kind, "prompt": request.prompt, "routed": routed})
    (out / "referring.json").write_text(json.dumps({"images": images, "requests": referrals}), encoding="utf-8")
    (out / "requests.json").write_text(json.dumps(requests, ensure_ascii=False, indent=1), encoding="utf-8")
    return len(referrals), len(requests)


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the scenes of one file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--gt", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--phrasings", type=Path, default=None, help="templates of requests, one a line")
    asked = parser.parse_args(arguments)
    records = read_records(asked.gt, asked.images, report=lambda line: None)[: asked.count]
    bank = cut_out(records, per_name=40, seed=asked.seed)
    if bank is None:
        raise SystemExit(f"{asked.gt.name} has no masks to cut things out by")
    lines = asked.phrasings.read_text(encoding="utf-8").splitlines() if asked.phrasings else []
    templates = [line for line in lines if line and not line.startswith("#")]
    phrases, requests = write(Scenes(records, bank, templates), asked.out, asked.count, asked.seed)
    print(f"{phrases} phrases and {requests} requests on {asked.count} pictures in {asked.out}")


if __name__ == "__main__":
    main()
