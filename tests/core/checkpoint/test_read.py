"""A model folder is read only if every byte in it is the one its manifest vouches for."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from chiasm.checkpoint import TaskFile, read_checkpoint, read_task_file, write_task_file
from chiasm.checkpoint.tensors import tensor_chunks
from chiasm_registry.errors import CheckpointError
from pace import fastest

Change = Callable[[Path], object]
Forge = Callable[[str, bytes], None]
Task = Callable[..., TaskFile]


def refuse(folder: Path, words: str) -> None:
    with pytest.raises(CheckpointError, match=words) as caught:
        read_checkpoint(folder)
    message = str(caught.value).replace(str(folder), "FOLDER")
    assert len(message) <= 200
    assert message.isprintable()
    assert not re.search("0x[0-9a-f]{6}", message)


def manifest_with(**changes: Any) -> Change:
    def change(folder: Path) -> None:
        manifest = json.loads((folder / "chiasm.json").read_text())
        (folder / "chiasm.json").write_text(json.dumps({**manifest, **changes}))

    return change


def cut(name: str, keep: Callable[[int], int]) -> Change:
    return lambda folder: os.truncate(folder / name, keep((folder / name).stat().st_size))


def put(name: str, data: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(data)


def linked(folder: Path) -> None:
    shutil.move(folder / "core.safetensors", folder.parent / "elsewhere")
    os.symlink(folder.parent / "elsewhere", folder / "core.safetensors")


def flipped(folder: Path) -> None:
    data = bytearray((folder / "core.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "core.safetensors").write_bytes(data)


def entry(**changes: Any) -> dict[str, Any]:
    whole = {"name": "a", "token": "[A]", "embeddings": 4, "distribution": "d", "version": "1", "order": 0}
    return {**whole, **changes}


PLAIN = {"size": 0, "sha256": "0" * 64}
PICKLE = b"\x80\x02}q\0."
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n"
CORE = "core.safetensors"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (cut(CORE, lambda size: size - 1), "bytes, chiasm.json says"),
        (cut(CORE, lambda size: size // 2), "bytes, chiasm.json says"),
        (cut(CORE, lambda size: 0), "empty file"),
        (flipped, "damaged or was changed"),
        (put(CORE, PICKLE), "is a pickle"),
        (put(CORE, b"PK\x03\x04" + bytes(100)), "zip archive"),
        (put(CORE, POINTER), "Git LFS pointer"),
        (put(CORE, b"<!doctype html><title>404</title>"), "web page"),
        (put("chiasm.json", POINTER), "Git LFS pointer"),
        (put("chiasm.json", b"\n <html>"), "web page"),
        (put("config.json", b"{}"), "bytes, chiasm.json says"),
        (linked, "is a link"),
        (lambda folder: (folder / CORE).unlink(), "does not exist"),
        (lambda folder: (folder / "detection.safetensors").unlink(), "does not exist"),
        (put("pytorch_model.bin", PICKLE), "does not list"),
        (put("modeling.py", b""), "does not list"),
        (put("other.safetensors", b""), "does not list"),
        (lambda folder: (folder / "sub").mkdir(), "does not list"),
        (lambda folder: (folder / "chiasm.json").unlink(), "without chiasm.json; see `chiasm convert`"),
        (put("chiasm.json", b"not json"), "not JSON here"),
        (put("chiasm.json", b"[]"), "JSON object"),
        (put("chiasm.json", b""), "empty file"),
        (put("chiasm.json", b"[" * 100_000), "nested 100,000 deep"),
        (put("chiasm.json", b'{"format":1,"format":1}'), "key 'format' stands twice"),
        (put("chiasm.json", b'{"format":1,"extra":{"a":1e999}}'), "too large"),
        (put("chiasm.json", b'{"format":1,"extra":' + b'{"a":' * 80 + b"1" + b"}" * 81), "nested 81 deep"),
        (put("chiasm.json", b"{}"), "names no format"),
        (manifest_with(format=2), "format 2; this chiasm reads up to 1"),
        (manifest_with(format="1"), "names no format"),
        (manifest_with(design=5), "look at 'design'"),
        (manifest_with(surprise=1), "look at 'surprise'"),
        (manifest_with(files={"../x.safetensors": PLAIN}), "lists '../x.safetensors'"),
        (manifest_with(files={"/etc/passwd": PLAIN}), "lists '/etc/passwd'"),
        (manifest_with(files={"run.py": PLAIN}), "lists 'run.py'"),
        (manifest_with(files={"config.json": PLAIN}), "does not list tokenizer.json"),
        (manifest_with(files={"config.json": PLAIN, "tokenizer.json": PLAIN}), "complete set of its shards"),
        (manifest_with(tasks=[entry(), entry(token="[B]", order=1)]), "lists 'detection|same name"),
        (manifest_with(tasks=[entry(name="../a")]), "look at 'tasks.0.name'"),
        (manifest_with(tasks=[entry(token="<a>")]), "look at 'tasks.0.token'"),
        (manifest_with(tasks=[entry(embeddings=10**9)]), "look at 'tasks.0.embeddings'"),
    ],
)
def test_a_changed_folder_is_refused(folder: Path, change: Change, words: str) -> None:
    """Cut, exchanged, added, missing, linked or foreign files, and manifests that are none."""
    read_checkpoint(folder)
    change(folder)
    refuse(folder, words)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (b"", "empty file"),
        (b"[]", "JSON object"),
        (b"{", "not JSON here"),
        (b'{"a":1,"a":2}', "twice"),
        (b'{"rms_norm_eps":NaN}', "NaN"),
        (b'{"a":' + b"1" * 5_000 + b"}", "whole number of 5,000"),
        (b'{"auto_map":{"AutoModel":"m.M"}}', "'auto_map', which may load code"),
        (b'{"llm_config":{"_attn_implementation":"a/b"}}', "'_attn_implementation', which may load code"),
        (b'{"quantization_config":{}}', "may load code"),
        (b'{"text":{"vocab_size":8589934592}}', "vocab_size is 8589934592"),
        (b'{"num_hidden_layers":1000000}', "num_hidden_layers is"),
        (b'{"hidden_size":-16}', "hidden_size is -16"),
        (b'{"hidden_size":16.0}', "hidden_size is 16.0"),
        (b'{"vision":[{"image_size":1000000000}]}', "image_size is"),
        (b'{"image_size":[448,1000000000]}', "image_size is"),
        (b'{"generation":{"max_new_tokens":1000000000000}}', "max_new_tokens is"),
    ],
)
def test_a_config_that_its_manifest_vouches_for_is_still_checked(
    folder: Path, forge: Forge, config: bytes, words: str
) -> None:
    """Keys that load code, and sizes that nothing should be built from."""
    forge("config.json", config)
    refuse(folder, words)


def test_bad_tensors_are_refused_though_their_sum_is_right(folder: Path, forge: Forge) -> None:
    """The manifest proves that nobody changed a file, not that it is good."""
    forge(CORE, b"\x02\0\0\0\0\0\0\0{}" + bytes(4))
    refuse(folder, "4 bytes of tensors, its header says 0")


def test_shards_hold_each_tensor_once(folder: Path, forge: Forge) -> None:
    """A tensor in two shards would leave open which one counts."""
    shard = b"".join(bytes(chunk) for chunk in tensor_chunks({"a": torch.ones(1)}, {}, "shard"))
    manifest = json.loads((folder / "chiasm.json").read_text())
    del manifest["files"][CORE]
    (folder / "chiasm.json").write_text(json.dumps(manifest))
    (folder / CORE).unlink()
    forge("core-00001-of-00002.safetensors", shard)
    refuse(folder, "complete set of its shards")
    forge("core-00002-of-00002.safetensors", shard)
    refuse(folder, "which an earlier shard holds too")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "no model folder"),
        (lambda path: path.write_text(""), "is a file"),
        (lambda path: path.mkdir(), "holds no chiasm.json"),
        (lambda path: (path.mkdir(), (path / "pytorch_model.bin").touch()), "a pickle, never opened"),
        (lambda path: (path.mkdir(), (path / "model.safetensors").touch()), "foreign model folder"),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path: Path, make: Change, words: str) -> None:
    """A path that leads to something else says to what."""
    make(tmp_path / "x")
    refuse(tmp_path / "x", words)


def test_a_folder_without_read_right_is_refused(folder: Path) -> None:
    """In words, not with the system's error."""
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    folder.chmod(0)
    refuse(folder, "check its permissions")


def test_words_for_people_may_lie_beside(folder: Path) -> None:
    """A licence, a card and a readme are no part of the checkpoint and no danger to it."""
    for name in ("README.md", "LICENSE", "MODEL_CARD.md"):
        (folder / name).write_text("words")
    assert set(read_checkpoint(folder).tasks) == {"detection"}


def test_what_is_read_does_not_change_with_the_files(folder: Path) -> None:
    """The tensors are copies: rewriting a file in place neither changes nor kills the loaded model."""
    checkpoint = read_checkpoint(folder)
    before = {name: tensor.clone() for name, tensor in checkpoint.core.items()}
    with open(folder / CORE, "r+b") as file:
        file.write(bytes(50))
        file.truncate(60)
    assert all(torch.equal(before[name], tensor) for name, tensor in checkpoint.core.items())


def test_a_task_that_does_not_fit_its_entry_is_left_out_alone(folder: Path, forge: Forge, task: Task) -> None:
    """Weights of another number of embeddings, or of another task, are a fault of that task only."""
    for wrong in (task(name="depth"), TaskFile(**{**vars(task()), "embeddings": 3, "vectors": torch.ones(3, 16)})):
        write_task_file(folder.parent / "wrong.safetensors", wrong)
        forge("detection.safetensors", (folder.parent / "wrong.safetensors").read_bytes())
        checkpoint = read_checkpoint(folder)
        assert checkpoint.tasks == {}
        assert set(checkpoint.faults) == {"detection"}
        assert len(checkpoint.core) == 5


def test_a_task_file_comes_back_and_says_what_it_fits(tmp_path: Path, task: Task) -> None:
    """Alone, without a folder; another K or D is a `CheckpointError` that names both."""
    path = tmp_path / "depth.safetensors"
    write_task_file(path, task("depth", order=3))
    found = read_task_file(path)
    assert found.entry == task("depth", order=3).entry
    assert torch.equal(found.vectors, task("depth").vectors)
    assert found.decoder["head.bias"].dtype == torch.float16
    found.check(embeddings=4, width=16)
    with pytest.raises(CheckpointError, match="weights hold 4 embeddings, the plugin wants 8"):
        found.check(embeddings=8)
    with pytest.raises(CheckpointError, match="width 16, the core of width 32"):
        found.check(width=32)


@pytest.mark.parametrize("changes", [{"vectors": torch.ones(3, 16)}, {"rows_input": torch.ones(1, 8)}, {"token": "x"}])
def test_an_impossible_task_file_is_not_written(tmp_path: Path, task: Task, changes: dict[str, Any]) -> None:
    """Shapes that contradict each other never reach the disk."""
    with pytest.raises(CheckpointError, match="task 'detection'"):
        write_task_file(tmp_path / "a.safetensors", TaskFile(**{**vars(task()), **changes}))
    assert list(tmp_path.iterdir()) == []


def test_other_safetensors_are_no_task(tmp_path: Path) -> None:
    """A file without a task's manifest in its header is refused by name."""
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"".join(bytes(chunk) for chunk in tensor_chunks({"a": torch.ones(1)}, {}, "file")))
    with pytest.raises(CheckpointError, match="not a task's file"):
        read_task_file(path)
    with pytest.raises(CheckpointError, match="does not exist"):
        read_task_file(tmp_path / "nothing")


def test_twenty_megabytes_load_well_below_a_second(tmp_path: Path, write: Callable[..., None]) -> None:
    """The embedded model's size must not be felt."""
    write(tmp_path / "m", core={f"w{i}": torch.randn(256, 256).bfloat16() for i in range(150)})
    assert fastest(lambda: read_checkpoint(tmp_path / "m")) < 0.5
