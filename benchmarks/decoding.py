"""Tokens a second of an answer, beside transformers' own `generate` on the very same network.

    python benchmarks/decoding.py                        a language model as InternVL2-1B's, random, float32 on the CPU
    python benchmarks/decoding.py --device cuda --dtype bfloat16 --layers 32 --width 4096    another

Both are given the same prompt and say the same tokens, which is checked; a second turn shows what a kept cache saves.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from chiasm.assemble import build_backbone, markers_of
from chiasm.routing.generate import Speaker, Voice, speak_free
from chiasm.routing.memory import Memory
from chiasm.routing.network import Network
from chiasm.routing.sampling import Sampling
from chiasm.text import TEMPLATES, train_tokenizer
from chiasm_registry import TaskTable

CLOSE, AGREE = 0.9, "the same tokens"


def network_of(sizes: argparse.Namespace, image: int) -> Network:
    """An InternVL with a small eye and a language model of the wanted size, random."""
    text = {
        "model_type": "qwen2", "hidden_size": sizes.width, "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.width // 64, "num_key_value_heads": max(1, sizes.width // 448),
        "intermediate_size": sizes.inner, "vocab_size": sizes.vocabulary, "max_position_embeddings": 32768,
        "tie_word_embeddings": False, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None,
    }  # fmt: skip
    vision = {"image_size": 56, "patch_size": 14, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
              "intermediate_size": 64}  # fmt: skip
    whole = {"vision_config": vision, "text_config": text, "image_token_id": image, "tie_word_embeddings": False}
    torch.manual_seed(0)
    network = Network(build_backbone({"design": "internvl", "internvl": whole}), TaskTable.build([]), {})
    return network.to(sizes.device, getattr(torch, sizes.dtype)).eval().requires_grad_(False)


def timed(work: Callable[[], Any], device: str) -> tuple[float, Any]:
    """Seconds of one call."""
    if device != "cpu":
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser()
    for name, value in (("width", 896), ("layers", 24), ("inner", 4864), ("vocabulary", 151_655), ("tokens", 32)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    sizes = parser.parse_args()
    words = train_tokenizer(["What is in the picture?"], 300)
    markers = markers_of(words, TEMPLATES["nano"])
    network = network_of(sizes, markers.image)
    network.backbone.matrices()[1][: words.size] = 0.0  # nothing that means something is ever the likeliest
    prompt = [words.size + 7 * k % (sizes.vocabulary - words.size) for k in range(sizes.prompt)]
    ids = torch.tensor([prompt], device=sizes.device)
    inner: Any = network.backbone_module
    voice = Voice(network, words, markers, words.control_ids.values(), 100)
    sampling = Sampling(max_new_tokens=sizes.tokens)
    theirs: Callable[[], Any] = lambda: inner.internvl.generate(  # noqa: E731
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=sizes.tokens, do_sample=False
    )
    memory = Memory()
    ours: Callable[[], Any] = lambda: speak_free(voice, [Speaker(Memory(), prompt, None, ())], sampling)  # noqa: E731
    theirs(), ours()
    best: dict[str, float] = {}
    for _ in range(sizes.rounds):
        for name, work in (("transformers", theirs), ("chiasm", ours)):
            seconds, said = timed(work, sizes.device)
            best[name] = min(best.get(name, seconds), seconds)
            tokens = said[0].ids if name == "chiasm" else said[0, len(prompt) :].tolist()
            if tokens != best.setdefault("said", tokens):  # type: ignore[arg-type]
                raise SystemExit("the two do not say the same")
    count = sum(p.numel() for p in network.parameters()) / 1e6
    print(f"{count:,.0f} M parameters, {sizes.dtype} on {sizes.device}, {torch.get_num_threads()} threads;")
    print(f"a prompt of {sizes.prompt} tokens and an answer of {sizes.tokens}, best of {sizes.rounds}, {AGREE}")
    for name in ("transformers", "chiasm"):
        print(f"{name:<13} {sizes.tokens / best[name]:8.2f} tokens/s  {best[name]:7.2f} s")
    speak_free(voice, [Speaker(memory, prompt, None, ())], sampling, keep=True)
    question = prompt[:16]
    kept, _ = timed(lambda: speak_free(voice, [Speaker(memory.fork(), question, None, ())], sampling), sizes.device)
    whole = [*memory.ids, *question]
    anew, _ = timed(lambda: speak_free(voice, [Speaker(Memory(), whole, None, ())], sampling), sizes.device)
    print(f"a second turn of 16 tokens: {kept:.2f} s on the kept cache, {anew:.2f} s anew")


if __name__ == "__main__":
    main()
