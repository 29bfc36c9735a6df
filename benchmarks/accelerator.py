"""InternVL2 at a released size, random, on a GPU: it answers, streams and finds, beside transformers' own `generate`.

    python benchmarks/accelerator.py --size 1b --tokenizer FOLDER        on the first GPU, in bfloat16
    python benchmarks/accelerator.py --size small --tokenizer FOLDER --device cpu --tiles 1 --tokens 8    a rehearsal

FOLDER holds the tokenizer's files of a published model of that family (1b: Qwen2's; 2b, 8b: InternLM2's). The weights
are drawn on the spot and written as an official folder below `--folder` (2 GB for 1b, 16 GB for 8b), which is removed
afterwards. Both speak on the very same network. A Markdown table is printed row by row.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import chiasm
import numpy as np
import torch
import transformers
from chiasm.images import open_image
from chiasm.routing.generate import Speaker, speak_free
from chiasm.routing.memory import Memory
from chiasm.routing.sampling import Sampling
from chiasm.scene import look_at
from chiasm.text import build_prompt
from chiasm_registry import Boxes
from decoding import timed
from official import LANGUAGE, write_official
from PIL import Image

QUESTION = "Tell me a long story about all that is in the picture."
NAMES = ["person", "red bus", "dog", "traffic light", "the tree on the left"]
GB = 1e9


class Bench:
    """One loaded model, one picture, one question; each method measures one thing and prints its row at once."""

    def __init__(self, model: chiasm.Model, picture: Image.Image, given: argparse.Namespace) -> None:
        self.model, self.picture, self.device, self.rounds = model, picture, given.device, given.rounds
        self.tokens, self.batch = given.tokens, given.batch
        self.network: Any = model.network.backbone_module

    def timed(self, work: Callable[[], Any]) -> tuple[float, Any]:
        """Seconds of one call, when the device is done with it, and what it gave."""
        return timed(work, self.device)

    def peak(self, work: Callable[[], Any]) -> float | None:
        """The most memory of the device while `work` ran, GB; None on a CPU, which does not count it."""
        if self.device == "cpu":
            return None
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() / GB

    def look(self) -> None:
        """The picture as tiles, and the prompt with their tokens, which transformers is given ready-made."""
        backbone = self.model.network.backbone
        seconds, cut = self.timed(lambda: backbone.cut(open_image(self.picture).rgb))
        parameter = next(self.network.parameters())
        self.pixels = cut.pixels.to(parameter.device, parameter.dtype)
        count = len(self.pixels) * backbone.tokens_per_tile
        ids = build_prompt(self.model.tokenizer, self.model.template, [(QUESTION, None)], [count]).ids
        self.ids = torch.tensor([ids], device=parameter.device)
        width, height = self.picture.size
        row(f"a picture of {width} x {height} cut into {len(self.pixels)} tiles", f"{seconds:.3f} s")

    def ours(self, count: int) -> str:
        """The road from the picture to the text."""
        text: str = self.model.ask(self.picture, QUESTION, max_new_tokens=count).text
        return text

    @torch.inference_mode()
    def theirs(self, count: int) -> list[int]:
        """transformers' own, from tiles and ids to ids; nothing ends its answer."""
        said = self.network.internvl.generate(
            input_ids=self.ids, pixel_values=self.pixels, attention_mask=torch.ones_like(self.ids),
            max_new_tokens=count, min_new_tokens=count, do_sample=False,
        )  # fmt: skip
        new: list[int] = said[0, self.ids.shape[1] :].tolist()
        return new

    def agree(self) -> None:
        """How many tokens from the first on are the same, and whether `ask` says them."""
        with torch.inference_mode():
            tokens = look_at(self.model.network, [open_image(self.picture)])[0].tokens
            speaker = Speaker(Memory(), self.ids[0].tolist(), tokens, ())
            (spoken,) = speak_free(self.model.voice, [speaker], Sampling(max_new_tokens=self.tokens))
        theirs = self.theirs(self.tokens)
        same = next((k for k, (a, b) in enumerate(zip(spoken.ids, theirs, strict=False)) if a != b), len(spoken.ids))
        text = "the same text from `ask`" if self.ours(self.tokens) == spoken.text else "ANOTHER text from `ask`"
        row("the same greedy tokens, from the first on", f"{same} of {len(theirs)}; {text}")

    def answer(self) -> None:
        """The first token, the rate of those behind it, the most memory; the two take turns."""
        best: dict[tuple[str, int], float] = {}
        for turn in range(self.rounds + 1):  # the first is not counted
            for count in (1, 1 + self.tokens):
                for name, work in (("ours", self.ours), ("theirs", self.theirs)):
                    seconds, _ = self.timed(partial(work, count))
                    if turn:
                        best[name, count] = min(best.get((name, count), seconds), seconds)
        first = [best[name, 1] for name in ("ours", "theirs")]
        rates = [self.tokens / (best[name, 1 + self.tokens] - best[name, 1]) for name in ("ours", "theirs")]
        peaks = [self.peak(partial(work, 1 + self.tokens)) for work in (self.ours, self.theirs)]
        row(f"first token behind {self.ids.shape[1]:,}", *(f"{s:.3f} s" for s in first))
        row(f"the next {self.tokens}, tokens/s", *(f"{rate:.1f}" for rate in rates))
        row("peak memory", *("not counted" if peak is None else f"{peak:.2f} GB" for peak in peaks))

    def stream(self) -> None:
        """The same answer while it is said, in a conversation."""
        start = time.perf_counter()
        heard, pieces = [], []
        for piece in self.model.chat().ask(QUESTION, self.picture, stream=True, max_new_tokens=self.tokens):
            heard.append(time.perf_counter() - start)
            pieces.append(piece)
        whole = "" if "".join(pieces) == self.ours(self.tokens) else "; ANOTHER text than unstreamed"
        pauses = [b - a for a, b in pairwise(heard)]
        longest, total = max(pauses, default=0.0), heard[-1]
        row("streamed: first piece of text", f"{heard[0]:.3f} s")
        row("streamed: longest wait for a next piece", f"{longest:.3f} s; {len(pieces)} pieces in {total:.2f} s{whole}")

    def find(self) -> None:
        """Five names in one guided pass."""
        self.model.detect(self.picture, NAMES, threshold=0.0)
        seconds, result = self.timed(partial(self.model.detect, self.picture, NAMES, threshold=0.0))
        boxes = result.outputs.get("detection", ())
        if len(boxes) != len(NAMES) or not all(type(each) is Boxes for each in boxes):
            raise SystemExit(f"detection gave no boxes: {'; '.join(notice.text for notice in result.notices)}")
        row(f"{len(NAMES)} names found (untrained)", f"{seconds:.3f} s, {len(result.objects)} boxes")

    def together(self) -> None:
        """Several questions in one batch; the first time its memory is found, which is not measured."""
        pictures = [self.picture] * self.batch
        seconds = {}
        for count in (1 + self.tokens, 1, 1 + self.tokens):
            seconds[count], _ = self.timed(partial(self.model.ask, pictures, QUESTION, max_new_tokens=count))
        rate = self.batch * self.tokens / (seconds[1 + self.tokens] - seconds[1])
        row(f"{self.batch} at once, tokens/s of all", f"{rate:.1f}")


def row(what: str, ours: str, theirs: str = "") -> None:
    """One row of the table, at once: a run that is cut leaves what it had."""
    print(f"| {what} | {ours} | {theirs} |", flush=True)


def loaded(folder: Path, given: argparse.Namespace) -> chiasm.Model:
    """The model of a folder just written, for which no control token is ever the likeliest."""
    size = sum(path.stat().st_size for path in folder.iterdir()) / GB
    options = {"dtype": getattr(torch, given.dtype), "device": given.device, "max_tiles": given.tiles}
    seconds, model = timed(partial(chiasm.load, folder, **options), given.device)
    row(f"{size:.2f} GB loaded", f"{seconds:.1f} s")
    if given.device != "cpu":
        row("memory after loading", f"{torch.cuda.memory_allocated() / GB:.2f} GB")
    for notice in model.notices:
        print(notice.text, file=sys.stderr)
    head = model.network.backbone.matrices()[1]  # what random numbers say must be words, or the two would not agree
    head[[token for token in model.tokenizer.control_ids.values() if token < len(head)]] = 0.0
    return model


def photograph(side: int) -> Image.Image:
    """Random colours, smooth as a photograph's."""
    drawn = np.random.default_rng(0).integers(0, 256, (side // 32, side // 32 * 4 // 3, 3), np.uint8)
    return Image.fromarray(drawn).resize((side * 4 // 3, side), Image.Resampling.BICUBIC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(LANGUAGE), default="1b")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--folder", type=Path, help="where there is room; the system's temporary one unless given")
    for name, value in (("tiles", 12), ("side", 1200), ("tokens", 128), ("rounds", 3), ("batch", 4)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    machine = platform.machine() if given.device == "cpu" else torch.cuda.get_device_name()
    torch.manual_seed(0)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"InternVL2-{given.size.upper()}, {given.dtype}, {machine}, {versions}\n")
    row("", "chiasm", "`generate`")
    row("---", "---:", "---:")
    with tempfile.TemporaryDirectory(dir=given.folder) as home:
        folder = Path(home) / "official"
        seconds, _ = timed(lambda: write_official(folder, given.size, given.tokenizer, given.device), given.device)
        print(f"written in {seconds:.1f} s", file=sys.stderr, flush=True)
        bench = Bench(loaded(folder, given), photograph(given.side), given)
        if given.device != "cpu":  # nothing is mapped from it any more
            shutil.rmtree(folder)
        for step in (bench.look, bench.agree, bench.answer, bench.stream, bench.together, bench.find):
            seconds, _ = timed(step, given.device)
            print(f"{step.__name__}: {seconds:.1f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
