"""Damaged and hostile folders in the official layout: one line that names the file, nothing run, nothing half loaded.

Each case is tried in a process of its own. The numbers are those of the list of threats to checkpoints; what concerns
chiasm's own folders alone (manifests, writers, task files) is tested with them.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chiasm
import pytest
from chiasm.backbone import load_backbone
from chiasm_registry.errors import ChiasmError

WEIGHTS = "model.safetensors"
EMBED = "language_model.model.tok_embeddings.weight"


def header_of(folder: Path) -> tuple[dict[str, Any], bytes]:
    data = (folder / WEIGHTS).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def stored(folder: Path, header: dict[str, Any] | bytes, data: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + data)


def headed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """The weights with another header."""

    def apply(folder: Path) -> None:
        header, data = header_of(folder)
        change(header)
        stored(folder, header, data)

    return apply


def written(name: str, content: bytes | str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def in_json(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        table = json.loads((folder / name).read_text(encoding="utf-8"))
        change(table)
        (folder / name).write_text(json.dumps(table), encoding="utf-8")

    return apply


def config(**change: Any) -> Callable[[Path], object]:
    return in_json("config.json", lambda c: c.update(change))


def respelled(old: str, new: str) -> Callable[[Path], object]:
    return lambda f: (f / "config.json").write_text((f / "config.json").read_text().replace(old, new))


def llm(**change: Any) -> Callable[[Path], object]:
    return in_json("config.json", lambda c: c["llm_config"].update(change))


def vision(**change: Any) -> Callable[[Path], object]:
    return in_json("config.json", lambda c: c["vision_config"].update(change))


def token(place: str, **change: Any) -> Callable[[Path], object]:
    return in_json("tokenizer_config.json", lambda c: c["added_tokens_decoder"][place].update(change))


def cut(to: Callable[[int], int]) -> Callable[[Path], object]:
    return lambda folder: os.truncate(folder / WEIGHTS, to((folder / WEIGHTS).stat().st_size))


def values(pattern: bytes) -> Callable[[Path], object]:
    """One number of the embedding overwritten."""

    def apply(folder: Path) -> None:
        header, data = header_of(folder)
        start = header[EMBED]["data_offsets"][0]
        stored(folder, header, data[:start] + pattern + data[start + len(pattern) :])

    return apply


def retyped(dtype: str) -> Callable[[Path], object]:
    """The embedding as whole numbers of the same bytes."""
    sizes = {"I8": 1, "I16": 2, "I64": 8, "C64": 8}

    def change(header: dict[str, Any]) -> None:
        start, end = header[EMBED]["data_offsets"]
        header[EMBED] = {"dtype": dtype, "shape": [(end - start) // sizes[dtype]], "data_offsets": [start, end]}

    return headed(change)


def twice(folder: Path) -> None:
    header, data = header_of(folder)
    text = json.dumps(header)
    stored(folder, (text[:-1] + f', "{EMBED}": ' + json.dumps(header[EMBED]) + "}").encode(), data)


def more_tensors(folder: Path) -> None:
    entries = {f"t{k}": {"dtype": "U8", "shape": [1], "data_offsets": [k, k + 1]} for k in range(25_000)}
    stored(folder, entries, bytes(25_000))


class Payload:
    """A pickle that leaves a mark when it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.mark), "w"))


def pickled(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(pickle.dumps(Payload(folder.parent / "mark")))


def only_pickle(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    pickled("pytorch_model.bin")(folder)


def script(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(f"open({str(folder.parent / 'mark')!r}, 'w')\n")


def sharded(index: Callable[[dict[str, str]], object], *, keep: bool = False) -> Callable[[Path], object]:
    """The single file under a shard's name, with an index that is not quite right."""

    def apply(folder: Path) -> None:
        header, _ = header_of(folder)
        names = {key: "model-00001-of-00001.safetensors" for key in header if key != "__metadata__"}
        shutil.copy(folder / WEIGHTS, folder / "model-00001-of-00001.safetensors")
        if not keep:
            (folder / WEIGHTS).unlink()
        index(names)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))

    return apply


def outside(link: bool) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        shutil.move(folder / WEIGHTS, folder.parent / "outside.safetensors")
        if link:
            (folder / WEIGHTS).symlink_to(folder.parent / "outside.safetensors")

    return apply


def both(*changes: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: [change(folder) for change in changes]


def sparse(name: str) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        (folder / name).touch()
        os.truncate(folder / name, 2 * 2**30)

    return apply


def slow_words(folder: Path) -> None:
    """A tokenizer.json whose pattern would take for ever."""
    (folder / "tokenizer.model").unlink()
    split = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    added = [
        {"id": 0, "content": "<IMG_CONTEXT>", "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
    ]  # fmt: skip
    whole = {"version": "1.0", "added_tokens": added, "pre_tokenizer": split, "model": {"type": "BPE", "vocab": {}}}
    (folder / "tokenizer.json").write_text(json.dumps(whole))


DEEP = "[" * 5000 + "]" * 5000
CASES: dict[str, tuple[Callable[[Path], object], str]] = {
    "1 a byte short": (cut(lambda n: n - 1), r"model.safetensors.*bytes of tensors"),
    "1 half": (cut(lambda n: n // 2), r"model.safetensors.*bytes of tensors"),
    "1 nothing": (cut(lambda n: 0), r"model.safetensors.*empty file"),
    "2 header of 0": (lambda f: stored(f, b"", b""), r"model.safetensors"),
    "2 header of 2^63": (written(WEIGHTS, struct.pack("<Q", 2**63) + b"{}" * 40), r"model.safetensors.*header claims"),
    "2 header of 100,000,001": (written(WEIGHTS, struct.pack("<Q", 100_000_001) + b"{}"), r"header claims 100000001"),
    "2 header beyond the file": (written(WEIGHTS, struct.pack("<Q", 999) + b"{}"), r"model.safetensors.*truncated"),
    "3 overlap": (headed(lambda h: h[EMBED]["data_offsets"].__setitem__(0, 0)), r"model.safetensors.*offsets"),
    "3 hole": (headed(lambda h: h.pop(EMBED)), r"model.safetensors.*(hole|bytes of tensors)"),
    "3 trailing": (lambda f: stored(f, header_of(f)[0], header_of(f)[1] + b"\0"), r"bytes of tensors"),
    "3 negative": (headed(lambda h: h[EMBED].update(data_offsets=[-2, 0])), rf"{EMBED}.*offsets"),
    "3 inverted": (headed(lambda h: h[EMBED]["data_offsets"].reverse()), rf"{EMBED}.*offsets"),
    "3 shape and offsets": (headed(lambda h: h[EMBED].update(shape=[3, 5])), rf"{EMBED}.*offsets"),
    "3 product overflows": (headed(lambda h: h[EMBED].update(shape=[2**33, 2**33])), rf"{EMBED}.*offsets"),
    "4 empty side": (headed(lambda h: h[EMBED].update(shape=[2**40, 0])), rf"{EMBED}.*shape"),
    "5 25,000 tensors": (more_tensors, r"model.safetensors.*25000 tensors"),
    "5 metadata of 11 MB": (headed(lambda h: h.update(__metadata__={"a": "x" * 11 * 2**20})), r"header claims"),
    "6 a tensor twice": (twice, rf"model.safetensors.*{EMBED}.*twice"),
    "7 NaN": (values(b"\xc0\x7f"), rf"model.safetensors.*{EMBED}.*NaN"),
    "7 infinity": (values(b"\x80\x7f"), rf"model.safetensors.*{EMBED}.*NaN or infinity"),
    "8 int8": (retyped("I8"), rf"{EMBED}"),
    "8 int64": (retyped("I64"), rf"{EMBED}"),
    "8 complex": (retyped("C64"), rf"{EMBED}.*dtype"),
    "9 transposed": (headed(lambda h: h[EMBED]["shape"].reverse()), rf"{EMBED}.*\(32, 435\)"),
    "10 missing": (headed(lambda h: h.update({"x": h.pop(EMBED)})), rf"lacks the tensor '{EMBED}'"),
    "11 extra": (
        lambda f: stored(f, {**header_of(f)[0], "extra": {"dtype": "U8", "shape": [1], "data_offsets": [
            len(header_of(f)[1]), len(header_of(f)[1]) + 1]}}, header_of(f)[1] + b"\0"), r"unknown tensor 'extra'",
    ),
    "11 extra in the index": (sharded(lambda w: w.update(extra=next(iter(w.values())))), r"does not hold 'extra'"),
    "11 left out of the index": (sharded(lambda w: w.pop(EMBED)), rf"holds '{EMBED}', which .*index.json does not"),
    "12 another shard": (sharded(lambda w: w.update({EMBED: WEIGHTS}), keep=True), rf"{re.escape(EMBED)}|holds"),
    "12 no such shard": (sharded(lambda w: w.update({EMBED: "model-2.safetensors"})), r"no file 'model-2.safetensors'"),
    "12 no safetensors": (sharded(lambda w: w.update({EMBED: "config.json"})), rf"{EMBED}.*'config.json'"),
    "13 parent": (
        both(outside(False), lambda f: (f / "model.safetensors.index.json").write_text(
            json.dumps({"weight_map": {EMBED: "../outside.safetensors"}}))), r"'\.\./outside|no safetensors",
    ),
    "13 parent beside a shard": (sharded(lambda w: w.update({EMBED: "../outside.safetensors"})), rf"{EMBED}.*\.\./"),
    "13 absolute": (sharded(lambda w: w.update({EMBED: "/etc/x.safetensors"})), rf"{EMBED}.*/etc/x"),
    "14 link": (outside(True), r"model.safetensors.*is a link"),
    "15 pickle": (pickled(WEIGHTS), r"model.safetensors.*pickle"),
    "15 zip": (written(WEIGHTS, b"PK\x03\x04" + bytes(99)), r"model.safetensors.*zip archive"),
    "16 only a pickle": (only_pickle, r"pytorch_model.bin.*pickle"),
    "17 lfs": (written(WEIGHTS, "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), r"Git LFS pointer"),
    "17 web page": (written(WEIGHTS, "<!DOCTYPE html><html>404</html>"), r"web page"),
    "18 no JSON": (written("config.json", "model"), r"config.json.*not JSON"),
    "18 a list": (written("config.json", "[]"), r"config.json.*object"),
    "18 empty": (written("config.json", ""), r"config.json.*empty"),
    "18 deep": (written("config.json", DEEP), r"config.json.*deep"),
    "18 key twice": (written("config.json", '{"model_type": "internvl_chat", "model_type": "x"}'), r"twice"),
    "18 NaN": (llm(rms_norm_eps=float("nan")), r"config.json.*NaN"),
    "18 1e999": (respelled("1e-05", "1e999"), r"config.json.*too large"),
    "18 5,000 digits": (respelled("435", "4" * 5000), r"config.json.*5,000"),
    "19 auto_map": (
        both(config(auto_map={"AutoModel": "evil.Model"}), script("evil.py")), r"auto_map|evil.py",
    ),
    "19 auto_map alone": (config(auto_map={"AutoModel": "evil.Model"}), r"config.json.*auto_map.*load code"),
    "19 py": (script("evil.py"), r"evil.py"),
    "19 so": (written("x.so", b"\x7fELF"), r"x.so"),
    "19 pkl": (pickled("x.pkl"), r"x.pkl"),
    "20 attention": (llm(_attn_implementation="evil/kernel"), r"config.json.*_attn_implementation"),
    "20 attention inside": (config(_attn_implementation_internal="evil/kernel"), r"_attn_implementation_internal"),
    "20 attention by its plain name": (llm(attn_implementation="evil/kernel"), r"attn_implementation"),
    "21 quantization": (config(quantization_config={"quant_method": "x"}), r"quantization_config"),
    "21 adapter": (written("adapter_config.json", "{}"), r"adapter_config.json"),
    "21 custom generate": (config(custom_generate="evil"), r"custom_generate"),
    "21 custom generate beside": (
        in_json("generation_config.json", lambda c: c.update(custom_generate="evil")), r"generation_config.*custom_gen",
    ),
    "21 target": (config(_target_="os.system"), r"_target_"),
    "21 jinja": (written("chat_template.jinja", "{% for x in range(10**9) %}{% endfor %}"), r"chat_template.jinja"),
    "21 unknown key": (vision(nobody_knows=1), r"vision_config.*nobody_knows"),
    "22 vocabulary": (llm(vocab_size=2**33), r"vocab_size"),
    "22 layers": (llm(num_hidden_layers=10**6), r"num_hidden_layers"),
    "22 width": (llm(hidden_size=-16), r"hidden_size"),
    "22 image": (vision(image_size=10**9), r"image_size"),
    "22 tile": (config(force_image_size=10**9), r"force_image_size"),
    "22 heads": (llm(num_attention_heads=3), r"3 heads"),
    "22 layer": (config(select_layer=-99), r"select_layer"),
    "22 text for a number": (llm(rope_theta="1"), r"rope_theta"),
    "22 true for a number": (llm(num_hidden_layers=True), r"num_hidden_layers"),
    "22 other sizes": (llm(num_hidden_layers=500, hidden_size=2**15, num_attention_heads=64), r"lacks|is \("),
    "23 tokens": (in_json("generation_config.json", lambda c: c.update(max_new_tokens=10**12)), r"max_new_tokens"),
    "24 no such token": (
        both(in_json("tokenizer_config.json", lambda c: c["added_tokens_decoder"].pop("428")),
             lambda f: (f / "added_tokens.json").unlink()), r"<IMG_CONTEXT>",
    ),
    "24 beyond the rows": (llm(vocab_size=400), r"vocab|400"),
    "24 two tokens, one id": (token("426", content="</img>"), r"share one"),
    "24 two ids of one token": (in_json("added_tokens.json", lambda c: c.update({"<img>": 430})), r"share one"),
    "24 not special": (token("425", special=False), r"<\|im_start\|>.*special"),
    "25 tokenizer of 2 GB": (sparse("tokenizer.model"), r"tokenizer.model.*larger"),
    "25 slow pattern": (slow_words, r"tokenizer.json.*pattern"),
    "25 no tokenizer": (lambda f: (f / "tokenizer.model").unlink(), r"no tokenizer.json"),
    "25 damaged tokenizer": (written("tokenizer.model", b"\x0a\xff\xff"), r"tokenizer.model.*damaged"),
    "28 an archive": (lambda f: (shutil.make_archive(str(f), "zip", f), shutil.rmtree(f),
                                 shutil.move(f"{f}.zip", f)), r"is a file"),
    "29 nothing there": (lambda f: shutil.rmtree(f), r"no model folder"),
    "29 a file": (lambda f: (shutil.rmtree(f), f.write_text("x")), r"is a file"),
    "29 no config": (lambda f: (f / "config.json").unlink(), r"foreign model folder|no chiasm.json"),
    "unknown design": (config(model_type="llava", llm_config=None), r"llm_config|llava"),
    "unknown template": (config(template="vicuna"), r"config.json.*template.*vicuna"),
    "unknown language model": (llm(architectures=["GPT2LMHeadModel"]), r"GPT2LMHeadModel"),
    "rope of another kind": (llm(rope_scaling={"type": "evil", "factor": 2.0}), r"rope_scaling.*evil"),
}  # fmt: skip


def in_a_child(call: Callable[[], object]) -> str:
    """What a child process says of the call: its ChiasmError, `loaded`, or anything else that happened."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            call()
            said = "loaded"
        except ChiasmError as error:
            said = f"refused {error}"
        except BaseException as error:
            said = f"{type(error).__name__} {error}"
        os.write(write, said.encode("utf-8", "replace")[:60_000])
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read().decode()
    status = os.waitpid(child, 0)[1]
    return said if status == 0 else f"died with {status}"


@pytest.fixture
def folder(shared: Path, tmp_path: Path) -> Path:
    made = tmp_path / "m"
    made.mkdir()
    for file in (shared / "golden" / "internvl2-2b").iterdir():
        if not file.name.startswith("golden"):
            shutil.copyfile(file, made / file.name)
    return made


def test_the_folder_itself_is_loaded(folder: Path) -> None:
    assert in_a_child(lambda: chiasm.load(folder, tasks=[])) == "loaded"


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_folder_is_refused_in_one_line(folder: Path, name: str) -> None:
    change, message = CASES[name]
    change(folder)
    said = in_a_child(lambda: chiasm.load(folder, tasks=[]))
    assert said.startswith("refused "), said
    line = said.removeprefix("refused ").replace(str(folder), "m")
    assert re.search(message, line), line
    assert "\n" not in line
    assert len(line) <= 200, line
    assert "0x" not in line
    assert not (folder.parent / "mark").exists()


# what has to do with prompts alone is of no concern to a backbone whose image token is given
WITHOUT_WORDS = ("23", "24", "25", "29 no config", "unknown template", "21 custom generate beside", "21 jinja")


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith(WITHOUT_WORDS)])
def test_a_backbone_is_not_made_of_it_either(folder: Path, name: str) -> None:
    CASES[name][0](folder)
    assert in_a_child(lambda: load_backbone(folder, image_token_id=428)).startswith("refused ")
    assert not (folder.parent / "mark").exists()


def test_official_code_files_lie_beside_the_weights_and_are_never_run(folder: Path) -> None:
    for name in ("modeling_internvl_chat.py", "tokenization_internlm2.py", "conversation.py"):
        script(name)(folder)
    assert in_a_child(lambda: chiasm.load(folder, tasks=[])) == "loaded"
    assert not (folder.parent / "mark").exists()


def test_links_are_followed_when_asked(folder: Path) -> None:
    outside(True)(folder)
    assert in_a_child(lambda: chiasm.load(folder, tasks=[], follow_links=True)) == "loaded"


def test_a_file_that_changes_after_loading_changes_nothing(folder: Path) -> None:
    """27: neither other numbers in place nor a cut file reach a model that is there."""
    import torch

    model = load_backbone(folder, image_token_id=428)
    ids = torch.tensor([[1, 300, 301]])
    before = model(input_ids=ids).logits
    (folder / WEIGHTS).write_bytes(b"x" * (folder / WEIGHTS).stat().st_size)
    os.truncate(folder / WEIGHTS, 10)
    assert torch.equal(model(input_ids=ids).logits, before)
