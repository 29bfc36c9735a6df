"""Official InternVL2 folders beside transformers: how long loading takes, how much memory, how fast words come.

    python benchmarks/official.py make  DIR --size 2b [--tokenizer FOLDER]   # random bf16 weights at released sizes
    python benchmarks/official.py load  DIR --runs 7                         # both forms, each in a process of its own
    python benchmarks/official.py speak DIR --tokens 32                      # needs a folder made with --tokenizer

`make` writes DIR/official, and the same weights as transformers' own form in DIR/native. `load` tells the median and
the worst of its runs, on the clock and in seconds of the processor: other programs slow the clock alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

VISION = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16,
          "image_size": 448, "patch_size": 14, "layer_norm_eps": 1e-6, "norm_type": "layer_norm", "num_channels": 3,
          "qk_normalization": False, "qkv_bias": True, "hidden_act": "gelu"}  # fmt: skip
LANGUAGE: dict[str, dict[str, Any]] = {
    "1b": {"architectures": ["Qwen2ForCausalLM"], "vocab_size": 151655, "hidden_size": 896, "intermediate_size": 4864,
           "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "rope_theta": 1e6,
           "max_position_embeddings": 32768, "rms_norm_eps": 1e-6},
    "2b": {"architectures": ["InternLM2ForCausalLM"], "vocab_size": 92553, "hidden_size": 2048, "bias": False,
           "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 8,
           "rope_theta": 1e6, "rope_scaling": {"type": "dynamic", "factor": 2.0}, "max_position_embeddings": 32768,
           "rms_norm_eps": 1e-5},
}  # fmt: skip
LANGUAGE["8b"] = {**LANGUAGE["2b"], "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
                  "num_attention_heads": 32}  # fmt: skip
LANGUAGE["small"] = {**LANGUAGE["2b"], "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 8}
TEMPLATE = {size: "Hermes-2" if size == "1b" else "internlm2-chat" for size in LANGUAGE}
IMAGE = {size: 151648 if size == "1b" else 92546 for size in LANGUAGE}
FORMS = ("chiasm", "transformers")


def make(folder: Path, size: str, tokenizer: Path | None) -> None:
    """Both forms of one model of random weights."""
    import torch
    from chiasm.backbone import load_backbone

    write_official(folder / "official", size, tokenizer)
    model = load_backbone(folder / "official", dtype=torch.bfloat16, image_token_id=IMAGE[size])
    model.save_pretrained(folder / "native", max_shard_size="100GB")


def write_official(folder: Path, size: str, tokenizer: Path | None, device: str = "cpu") -> None:
    """An official folder of random bfloat16 weights, drawn on `device`, one tensor after the other."""
    import torch
    from chiasm.backbone.build import blank_internvl
    from chiasm.backbone.official.config import official_config
    from chiasm.backbone.official.names import places
    from chiasm.checkpoint.later import Later
    from chiasm.checkpoint.tensors import tensor_chunks
    from chiasm.files import write_whole
    from chiasm.text.shipped import FILES

    config = {"model_type": "internvl_chat", "llm_config": LANGUAGE[size], "vision_config": VISION,
              "template": TEMPLATE[size], "ps_version": "v2", "select_layer": -1, "downsample_ratio": 0.5,
              "force_image_size": 448, "max_dynamic_patch": 12, "use_thumbnail": True}  # fmt: skip
    official = official_config(config, "config.json")
    blank = blank_internvl(official.described(0, tied=False))
    shapes = {name: tuple(tensor.shape) for name, tensor in blank.state_dict().items()}

    def drawn(shape: tuple[int, ...]) -> Any:
        return torch.empty(shape, dtype=torch.bfloat16, device=device).normal_(0.0, 0.02)

    tensors = {}
    for place in places(list(shapes), official.family.name, official.internvl["text_config"]):
        shape = place.shape(shapes)
        tensors[place.official] = Later(shape, torch.bfloat16, partial(drawn, shape))
    folder.mkdir(parents=True)
    write_whole(folder / "model.safetensors", tensor_chunks(tensors, {"format": "pt"}, "the model"))
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for name in FILES if tokenizer else ():
        if (tokenizer / name).exists():  # type: ignore[operator]
            shutil.copyfile(tokenizer / name, folder / name)  # type: ignore[operator]


def opener(folder: Path, form: str) -> Callable[[], Any]:
    """What gives the model of one form, in the numbers that are stored; importing it is not loading a model."""
    import torch

    if form == "chiasm":
        from chiasm.backbone import load_backbone

        return partial(load_backbone, folder / "official", dtype=torch.bfloat16, image_token_id=1)
    from transformers import InternVLForConditionalGeneration

    return partial(InternVLForConditionalGeneration.from_pretrained, folder / "native", dtype=torch.bfloat16)


def load_once(folder: Path, form: str) -> dict[str, float]:
    """Seconds and peak memory of loading, and of one look at every weight: what is mapped must be read some time."""
    import torch

    torch.set_num_threads(1)
    load = opener(folder, form)
    start, worked = time.perf_counter(), time.process_time()
    model = load()
    loaded, worked = time.perf_counter() - start, time.process_time() - worked
    total = sum(float(parameter.view(-1)[::512].float().sum()) for parameter in model.parameters())
    used = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    return {"load_s": loaded, "load_processor_s": worked, "load_and_touch_s": used, "weights_gb": size / 1e9,
            "peak_over_weights": peak / size, "checksum": total}  # fmt: skip


def speak_once(folder: Path, form: str, tokens: int) -> dict[str, float]:
    """Words a second behind a prompt of a few dozen, the same prompt and the same greedy choice for both.

    In seconds of one processor: on a shared machine the clock on the wall measures the others, too.
    """
    import chiasm
    import torch
    from chiasm.text import build_prompt

    torch.set_num_threads(1)
    model = chiasm.load(folder / "official", dtype=torch.float32, tasks=[])
    question = "Tell me a long story about a red bus and a dog that never stops."
    ids = torch.tensor([build_prompt(model.tokenizer, model.template, [(question, None)], []).ids])
    network: Any = model.network.backbone_module

    def ours(count: int) -> None:
        model.ask(None, question, max_new_tokens=count)

    def theirs(count: int) -> None:
        network.internvl.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=count,
                                  min_new_tokens=count, do_sample=False)  # fmt: skip

    run: Callable[[int], None] = ours if form == "chiasm" else theirs
    run(2)
    rates = []
    for _ in range(3):
        start = time.process_time()
        run(2)
        short = time.process_time() - start
        start = time.process_time()
        run(tokens + 2)
        rates.append(tokens / (time.process_time() - start - short))
    return {"tokens_per_s": sorted(rates)[1], "prompt": ids.shape[1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["make", "load", "speak"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", choices=list(LANGUAGE), default="2b")
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--form", choices=FORMS, help="this one alone, in this process")
    given = parser.parse_args()
    if given.what == "make":
        make(given.folder, given.size, given.tokenizer)
    elif given.form:
        once = load_once if given.what == "load" else partial(speak_once, tokens=given.tokens)
        print(json.dumps(once(given.folder, given.form)))
    else:
        rows: dict[str, list[dict[str, float]]] = {form: [] for form in FORMS}
        for _ in range(given.runs):  # in turn: the machine changes with time
            for form in FORMS:
                rows[form].append(in_a_process(sys.argv[1:], form))
        print(json.dumps({form: summed_up(rows[form]) for form in FORMS}, indent=1))


def summed_up(rows: list[dict[str, float]]) -> dict[str, list[float]]:
    """Of each figure the median and the largest."""
    return {key: [round(of([row[key] for row in rows]), 3) for of in (statistics.median, max)] for key in rows[0]}


def in_a_process(arguments: list[str], form: str) -> dict[str, float]:
    """One form, where nothing else was loaded before."""
    command = [sys.executable, __file__, *arguments, "--form", form]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    row: dict[str, float] = json.loads(said.splitlines()[-1])
    return row


if __name__ == "__main__":
    main()
