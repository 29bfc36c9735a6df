"""Official folders: every number that the official code gives, and the same tokens, for all seven sizes."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import chiasm
import pytest
import torch
from chiasm.backbone import load_backbone
from chiasm.backbone.official.network import OfficialInternVL
from chiasm.text import Turn, build_prompt, load_tokenizer, place_images
from chiasm.text.shipped import FILES
from chiasm_registry.errors import CheckpointError, InputError
from core.official import configuration, make_official
from safetensors.torch import load_file
from torch import Tensor

SIZES = ("1b", "2b", "4b", "8b", "26b", "40b", "76b")
CASES = [(size, case) for size in SIZES for case in ("single", "two", "text", "batch", "tiles")]
CASES += [(size, case) for size in ("2b", "4b") for case in ("long", "cross")]
CLOSE = 1e-4


@cache
def model_of(folder: Path) -> OfficialInternVL:
    return load_backbone(folder, dtype=torch.float32, image_token_id=meta_of(folder)["ids"]["<IMG_CONTEXT>"])


@cache
def meta_of(folder: Path) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads((folder / "golden_meta.json").read_text(encoding="utf-8"))
    return meta


def golden(folder: Path, name: str) -> dict[str, Tensor]:
    read = load_file(folder / f"golden_{name}.safetensors")
    return {key: t.long() if t.dtype == torch.int32 else t.float() for key, t in read.items()}


def inputs(case: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: case[key] for key in ("input_ids", "attention_mask", "pixel_values") if key in case}


def off(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max())


@pytest.mark.parametrize(("size", "name"), CASES)
@torch.inference_mode()
def test_states_logits_and_greedy_tokens_are_the_official_ones(shared: Path, size: str, name: str) -> None:
    folder = shared / "golden" / f"internvl2-{size}"
    model, case = model_of(folder), golden(folder, name)
    given, real = inputs(case), case["attention_mask"].bool()
    out = model(**given, position_ids=case["position_ids"], output_hidden_states=True)
    assert off(out.logits[real], case["logits"][real]) < CLOSE
    for layer, hidden in enumerate(out.hidden_states):
        if f"lm_hidden_{layer}" in case:
            assert off(hidden, case[f"lm_hidden_{layer}"]) < CLOSE
    if "mlp1" in case:
        assert off(out.image_hidden_states, case["mlp1"]) < CLOSE
    prompt = given["input_ids"].shape[1]
    said = model.generate(**given, max_new_tokens=12, do_sample=False, pad_token_id=0)
    assert torch.equal(said[:, prompt:], case["gen_tokens"])
    if "gen_tokens_stop" in case:
        stop = int(case["stop_eos"])
        said = model.generate(**given, max_new_tokens=12, do_sample=False, pad_token_id=0, eos_token_id=stop)
        assert torch.equal(said[:, prompt:], case["gen_tokens_stop"])


@pytest.mark.parametrize("size", SIZES)
@torch.inference_mode()
def test_the_eye_is_the_official_one_layer_by_layer(shared: Path, size: str) -> None:
    folder = shared / "golden" / f"internvl2-{size}"
    model, case = model_of(folder), golden(folder, "single")
    seen = model.model.vision_tower(case["pixel_values"], output_hidden_states=True)
    for layer, hidden in enumerate(seen.hidden_states):
        assert off(hidden, case[f"vit_hidden_{layer}"]) < CLOSE
    grid = seen.last_hidden_state[:, 1:]
    side = round(grid.shape[1] ** 0.5)
    shuffled = model.model.pixel_shuffle(grid.reshape(len(grid), side, side, -1), model.config.downsample_ratio)
    assert off(shuffled.flatten(1, 2), case["pixel_shuffle"]) < CLOSE


def changed(folder: Path, to: Path, **top: Any) -> Path:
    """The folder with other values in its config.json."""
    to.mkdir()
    for file in folder.glob("*"):
        if not file.name.startswith("golden"):
            shutil.copy(file, to / file.name)
    config = {**json.loads((folder / "config.json").read_text(encoding="utf-8")), **top}
    (to / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not ...}), encoding="utf-8")
    return to


@pytest.mark.parametrize(("size", "words"), [("1b", "vocab.json"), ("2b", "tokenizer.model")])
def test_the_image_token_is_found_without_the_vocabulary(shared: Path, tmp_path: Path, size: str, words: str) -> None:
    config, tokenizer = configuration(shared, size), shared / "golden" / f"internvl2-{size}"
    folder = make_official(tmp_path / "m", config, tokenizer)
    assert load_backbone(folder).config.image_token_id == meta_of(tokenizer)["ids"]["<IMG_CONTEXT>"]
    (folder / words).write_bytes(b"no vocabulary")
    assert load_backbone(folder).config.image_token_id == meta_of(tokenizer)["ids"]["<IMG_CONTEXT>"]
    (folder / words).unlink()
    with pytest.raises(CheckpointError, match=r"has no tokenizer.json"):
        load_backbone(folder)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no device": ({"device": "xyz"}, r"device 'xyz' cannot be used here; 'cpu' always can"),
    "an absent device": ({"device": "hpu"}, "cannot be used here"),
    "a device object that is absent": ({"device": torch.device("hpu")}, "device 'hpu' cannot be used here"),
    "a device a list": ({"device": ["cpu"]}, "of type list cannot be used here"),
    "whole numbers": ({"dtype": torch.int8}, "dtype 'torch.int8' is none that weights have; take one of float32"),
    "half by another name": ({"dtype": "half"}, "none that weights have"),
    "an image token by its name": ({"image_token_id": "x"}, r"image_token_id must be a whole number from 0 to \d+"),
    "an image token that is true": ({"image_token_id": True}, "image_token_id must be"),
    "an image token without a row": ({"image_token_id": 10**6}, "image_token_id must be"),
    "a number for a folder": ({"path": 5}, "folder must be a path, not of type int"),
    "nothing for a folder": ({"path": None}, "folder must be a path"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_argument_is_refused_in_one_line(shared: Path, case: str) -> None:
    given, message = WRONG[case]
    with pytest.raises(InputError, match=message) as caught:
        load_backbone(**{"path": shared / "golden" / "internvl2-1b", **given})
    assert str(caught.value).isprintable()


def test_a_dtype_may_be_called_by_its_name(shared: Path) -> None:
    model = load_backbone(shared / "golden" / "internvl2-1b", dtype="bfloat16")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_an_image_token_without_a_row_is_refused(shared: Path, tmp_path: Path) -> None:
    folder = make_official(tmp_path / "m", configuration(shared, "2b", vocab_size=400), shared / "golden/internvl2-2b")
    with pytest.raises(CheckpointError, match=r"no <IMG_CONTEXT> below vocab_size 400"):
        load_backbone(folder)


@pytest.mark.parametrize("size", ["2b", "26b"])
@pytest.mark.parametrize("version", ["v1", "v2", ...])
@pytest.mark.parametrize("layer", [-1, -2])
@torch.inference_mode()
def test_shuffle_versions_and_chosen_layers(
    shared: Path, tmp_path: Path, size: str, version: Any, layer: int
) -> None:
    """A configuration without a version means the first one."""
    folder = shared / "golden" / f"internvl2-{size}"
    model = load_backbone(
        changed(folder, tmp_path / "m", ps_version=version, select_layer=layer), image_token_id=1, dtype=torch.float32
    )
    case = golden(folder, "variants")
    seen = model.get_image_features(case["pixel_values"]).pooler_output
    assert off(seen, case[f"mlp1_ps_{'v1' if version is ... else version}_select_{layer}"]) < CLOSE


@pytest.mark.parametrize("size", SIZES)
@torch.inference_mode()
def test_other_sizes_of_images_go_through_interpolated_positions(shared: Path, size: str) -> None:
    folder = shared / "golden" / f"internvl2-{size}"
    model, case = model_of(folder), golden(folder, "variants")
    seen = model.get_image_features(case["pixel_values_interp"])
    assert off(seen.pooler_output, case["mlp1_interp"]) < CLOSE
    assert off(seen.last_hidden_state, case["vit_selected_interp"]) < CLOSE
    assert off(model.model.vision_tower(case["pixel_values_rect"]).last_hidden_state, case["vit_selected_rect"]) < CLOSE


@pytest.mark.parametrize("size", SIZES)
def test_the_official_chat_is_replayed_token_for_token(shared: Path, size: str) -> None:
    folder = shared / "golden" / f"internvl2-{size}"
    model = model_of(folder)
    for row in json.loads((folder / "golden_chat.json").read_text(encoding="utf-8")):
        given: dict[str, Any] = {"input_ids": torch.tensor([row["input_ids"]])}
        if row["num_patches_list"]:
            given |= {"pixel_values": golden(folder, f"chat_{row['name']}")["pixel_values"]}
        said = model.generate(
            **given,
            attention_mask=torch.ones_like(given["input_ids"]),
            max_new_tokens=12,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=row["eos_token_id"],
        )
        assert said[0, len(row["input_ids"]) :].tolist() == row["new_tokens"], row["name"]


@pytest.mark.parametrize("size", SIZES)
def test_the_official_chat_s_prompts_and_responses_are_ours(shared: Path, size: str) -> None:
    """The ids that the question and its history become, image places included, and the words of the answer."""
    folder = shared / "golden" / f"internvl2-{size}"
    tokenizer, tokens = load_tokenizer(folder), meta_of(folder)["num_image_token"]
    template = json.loads((folder / "config.json").read_text(encoding="utf-8"))["template"]
    for row in json.loads((folder / "golden_chat.json").read_text(encoding="utf-8")):
        images = [tiles * tokens for tiles in row["num_patches_list"] or []]
        turns: list[Turn] = []
        for question, answer in [*(row["history_in"] or []), (row["question"], None)]:
            own = question.count("<image>") or (0 if row["history_in"] else len(images))
            turns.append((place_images(question, images[:own]), answer))
            images = images[own:]
        assert list(build_prompt(tokenizer, template, turns, []).ids) == row["input_ids"], row["name"]
        words = [token for token in row["new_tokens"] if token not in tokenizer.control_ids.values()]
        if len(words) == len(row["new_tokens"]) or "<|" not in row["response"]:
            assert tokenizer.decode(words).strip() == row["response"], row["name"]


@pytest.mark.parametrize("size", SIZES)
def test_the_official_batch_chat_is_replayed_token_for_token(shared: Path, size: str) -> None:
    folder = shared / "golden" / f"internvl2-{size}"
    if not (folder / "golden_batch_chat.json").exists():
        pytest.skip("no batch was recorded")
    row = json.loads((folder / "golden_batch_chat.json").read_text(encoding="utf-8"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    ids = torch.tensor(row["input_ids"])
    stop = meta_of(folder)["ids"]["<|end|>" if config["template"] == "phi3-chat" else "<|im_end|>"]
    said = model_of(folder).generate(
        input_ids=ids,
        attention_mask=torch.tensor(row["attention_mask"]),
        pixel_values=golden(folder, "batch_chat")["pixel_values"],
        max_new_tokens=12,
        do_sample=False,
        eos_token_id=stop,
        pad_token_id=int(ids[0, 0]),
    )
    assert said[:, ids.shape[1] :].tolist() == row["new_tokens"]


@torch.inference_mode()
def test_a_head_on_the_disk_wins_over_the_flag_and_a_missing_one_is_tied(shared: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    folder = shared / "golden" / "internvl2-1b"
    llm = json.loads((folder / "config.json").read_text(encoding="utf-8"))["llm_config"]
    tied = changed(folder, tmp_path / "tied", llm_config={**llm, "tie_word_embeddings": True})
    case = golden(folder, "single")
    model = load_backbone(tied, image_token_id=meta_of(folder)["ids"]["<IMG_CONTEXT>"], dtype=torch.float32)
    assert off(model(**inputs(case)).logits, case["logits"]) < CLOSE
    weights = load_file(tied / "model.safetensors")
    del weights["language_model.lm_head.weight"]
    save_file(weights, tied / "model.safetensors")
    model = load_backbone(tied, image_token_id=1, dtype=torch.float32)
    assert model.lm_head.weight is model.model.language_model.embed_tokens.weight


@torch.inference_mode()
def test_a_long_text_leaves_nothing_behind_for_a_shorter_one(shared: Path) -> None:
    """Dynamic NTK: after a call of 128 tokens, one of 92 (over the limit of 64) is what it is alone."""
    folder = shared / "golden" / "internvl2-2b"
    model = load_backbone(folder, image_token_id=meta_of(folder)["ids"]["<IMG_CONTEXT>"], dtype=torch.float32)
    long = golden(folder, "long")
    text = {"input_ids": golden(folder, "text")["input_ids"].repeat(1, 9)[:, :92]}
    alone = model(**text).logits
    model(**inputs(long))
    assert torch.equal(model(**text).logits, alone)
    assert off(model(**inputs(long)).logits, long["logits"]) < CLOSE


@pytest.mark.parametrize("size", ["2b", "4b"])
@torch.inference_mode()
def test_a_long_text_writes_nothing_that_another_thread_could_read(shared: Path, size: str) -> None:
    """Dynamic NTK and longrope: the frequencies of a pass belong to it."""
    folder = shared / "golden" / f"internvl2-{size}"
    model = load_backbone(folder, image_token_id=meta_of(folder)["ids"]["<IMG_CONTEXT>"], dtype=torch.float32)
    before = {name: (buffer, buffer.clone()) for name, buffer in model.named_buffers()}
    model(**inputs(golden(folder, "long")))
    after = dict(model.named_buffers())
    assert after.keys() == before.keys()
    assert all(after[name] is buffer and torch.equal(buffer, copy) for name, (buffer, copy) in before.items())


@pytest.mark.parametrize(("size", "shuffle"), [("1b", "v1"), ("1b", "v2"), ("2b", "v2"), ("4b", "v2")])
@torch.inference_mode()
def test_what_transformers_saves_of_it_is_loaded_again(shared: Path, tmp_path: Path, size: str, shuffle: str) -> None:
    """With the tokenizer's files beside it: every tensor, and the same numbers."""
    folder, saved = shared / "golden" / f"internvl2-{size}", tmp_path / "saved"
    model = load_backbone(changed(folder, tmp_path / "official", ps_version=shuffle), dtype=torch.float32)
    model.save_pretrained(saved)
    for file in FILES:
        if (folder / file).exists():
            shutil.copy(folder / file, saved / file)
    again = chiasm.load(saved, tasks=[]).network.backbone_module.internvl
    mine, theirs = model.state_dict(), again.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    case = inputs(golden(folder, "single"))
    assert torch.equal(again(**case).logits, model(**case).logits)


def test_a_saved_pixel_shuffle_that_nobody_knows_is_refused(shared: Path, tmp_path: Path) -> None:
    load_backbone(shared / "golden" / "internvl2-1b").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "ps_version": "v3"}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="ps_version is 'v3'; it must be one of v1, v2"):
        chiasm.load(tmp_path, tasks=[])


def test_text_without_an_image_may_say_so(shared: Path) -> None:
    folder = shared / "golden" / "internvl2-1b"
    ids = golden(folder, "text")["input_ids"]
    said = model_of(folder).generate(input_ids=ids, pixel_values=None, max_new_tokens=12, do_sample=False)
    assert torch.equal(said[:, ids.shape[1] :], golden(folder, "text")["gen_tokens"])
