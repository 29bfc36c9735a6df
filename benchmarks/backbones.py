"""The designs side by side: how many tokens an image is, how large each part is, how much of it was trained.

    python benchmarks/backbones.py            the table of docs/backbones.md
    python benchmarks/backbones.py --draw     the drawing, docs/backbones.svg

Parameters are counted on networks of the published sizes that get no memory; tokens by running the design's own eye on
pictures, with thin layers in the place of the published ones: their number depends on the image alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import torch
import yaml
from chiasm.assemble import build_backbone
from PIL import Image
from torch import nn

HERE = Path(__file__).resolve().parent
PICTURES = {"640 x 480": (640, 480), "1920 x 1080": (1920, 1080), "600 x 2400": (600, 2400)}
CONNECTORS = ("multi_modal_projector", "image_newline", "qformer", "query_tokens", "visual.merger")
EYES = ("vision_tower", "vision_model", "visual.")
THIN = {
    **dict.fromkeys(("hidden_size", "embed_dim", "intermediate_size", "ffn_dim", "word_embed_proj_dim"), 16),
    **dict.fromkeys(("projection_dim", "encoder_hidden_size"), 16),
    **dict.fromkeys(("num_hidden_layers", "depth", "num_attention_heads", "num_heads", "num_key_value_heads"), 1),
    "vocab_size": 64,
    "mrope_section": [4, 2, 2],
    **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id")),
}


def designs() -> list[dict[str, Any]]:
    """The published sizes."""
    read: list[dict[str, Any]] = yaml.safe_load((HERE / "backbones.yaml").read_text(encoding="utf-8"))
    for one in read:
        if isinstance(one["config"], str):
            one["config"] = json.loads((HERE.parent / one["config"]).read_text(encoding="utf-8"))
    return read


def thin(config: Any, key: str = "") -> Any:
    """The same geometry with next to no parameters."""
    if key in THIN:
        return THIN[key]
    if isinstance(config, Mapping):
        return {name: thin(value, name) for name, value in config.items()}
    return config


@torch.inference_mode()
def tokens(config: Mapping[str, Any]) -> dict[str, int]:
    """Image tokens of each picture."""
    backbone: Any = build_backbone(thin(config))
    cuts = {name: backbone.cut(Image.new("RGB", size)) for name, size in PICTURES.items()}
    return {name: len(backbone.look([cut])[0].tokens) for name, cut in cuts.items()}


def seen(config: Mapping[str, Any]) -> str:
    """What the eye is given of the second picture, in pixels."""
    backbone: Any = build_backbone(thin(config))
    cut = backbone.cut(Image.new("RGB", PICTURES["1920 x 1080"]))
    if cut.pixels.ndim == 4:
        return f"{len(cut.pixels)} x {backbone.tile} x {backbone.tile}"
    return f"{cut.grid[1] * backbone.patch} x {cut.grid[0] * backbone.patch}"


def part_of(name: str) -> str:
    """The part that a parameter belongs to."""
    if "language_projection" in name:
        return "matrix"
    if any(word in name for word in CONNECTORS):
        return "connector"
    return "eye" if any(word in name for word in EYES) else "language"


def sizes(config: Mapping[str, Any]) -> dict[str, int]:
    """Parameters of each part; `connector` has its matrix, which is also told alone."""
    with torch.device("meta"):
        backbone: nn.Module = build_backbone(config, blank=True)
    counted = dict.fromkeys(("eye", "connector", "matrix", "language"), 0)
    for name, parameter in backbone.named_parameters():
        counted[part_of(name)] += parameter.numel()
    return {**counted, "connector": counted["connector"] + counted["matrix"]}


def millions(count: int) -> str:
    return f"{count / 1e6:,.1f}" if count < 1e8 else f"{count / 1e6:,.0f}"


def table(chosen: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Markdown, one row a design."""
    parts = ("eye", "connector", "language")
    heads = ["design", "connector", "sees of 1920 x 1080", *(f"tokens, {name}" for name in PICTURES), *parts]
    yield "| " + " | ".join([*heads, "trained, by stage"]) + " |"
    yield "|" + "---|" * 3 + "---:|" * (len(PICTURES) + len(parts)) + "---|"
    for one in chosen:
        counted = sizes(one["config"])
        counts = [f"{count:,}" for count in tokens(one["config"]).values()]
        stages = [
            f"{', '.join(stage)} ({millions(sum(counted[part] for part in stage))})" for stage in one["stages"]
        ]
        columns = [one["name"], one["connector"], seen(one["config"]), *counts]
        columns += [millions(counted[part]) for part in parts]
        yield "| " + " | ".join([*columns, "; ".join(stages) or "as its card says"]) + " |"


def drawing(chosen: Sequence[Mapping[str, Any]]) -> str:
    """An SVG: a column a design, from the image upwards; a bar shows the tokens of a picture of 640 x 480."""
    wide, gap, high = 150, 14, 400
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {len(chosen) * (wide + gap) + gap} {high}" '
        'font-family="sans-serif" font-size="12" text-anchor="middle">',
        f'<rect width="100%" height="{high}" fill="#ffffff"/>',
    ]
    counts = [tokens(one["config"])["640 x 480"] for one in chosen]
    for place, (one, count) in enumerate(zip(chosen, counts, strict=True)):
        left = gap + place * (wide + gap)
        middle = left + wide / 2
        seen, tower, connector = one["drawn"]
        rows = [
            ("#dfe8d8", "language model", 40),
            ("#f6e3c5", connector, 190),
            ("#d5e3f0", tower, 260),
            ("#eeeeee", seen, 330),
        ]
        out.append(f'<text x="{middle:g}" y="24" font-weight="bold">{escape(one["name"])}</text>')
        for fill, text, top in rows:
            out += _box(left, top, wide, fill, text)
        for top in (94, 244, 314):
            out.append(f'<path d="M{middle:g} {top + 12}v-10m-4 5l4 -5l4 5" stroke="#555555" fill="none"/>')
        long = wide * count / max(counts)
        out.append(f'<rect x="{middle - long / 2:g}" y="130" width="{long:g}" height="16" fill="#c9a24a"/>')
        out.append(f'<text x="{middle:g}" y="124">{count:,} image tokens</text>')
        out.append(f'<path d="M{middle:g} 184v-26m-4 5l4 -5l4 5" stroke="#555555" fill="none"/>')
    return "\n".join([*out, "</svg>\n"])


def _box(left: float, top: float, wide: float, fill: str, text: str) -> Iterator[str]:
    yield f'<rect x="{left}" y="{top}" width="{wide}" height="50" rx="6" fill="{fill}" stroke="#888888"/>'
    words, lines = text.split(), [""]
    for word in words:
        lines = [*lines[:-1], f"{lines[-1]} {word}".strip()] if len(lines[-1]) + len(word) < 22 else [*lines, word]
    for k, line in enumerate(lines):
        y = top + 29 + 15 * (k - (len(lines) - 1) / 2)
        yield f'<text x="{left + wide / 2:g}" y="{y:g}">{escape(line)}</text>'


def main(arguments: Sequence[str]) -> None:
    if arguments == ["--draw"]:
        target = HERE.parent / "docs" / "backbones.svg"
        target.write_text(drawing(designs()), encoding="utf-8")
        print(target.name)
    else:
        print("\n".join(table(designs())))


if __name__ == "__main__":
    main(sys.argv[1:])
