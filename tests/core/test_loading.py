"""From a folder to a model: to the bit, with every task in its place, or one line that says why not."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chiasm.checkpoint import TaskFile, write_checkpoint, write_task_file
from chiasm.checkpoint.manifest import TaskEntry
from chiasm.loading import load
from chiasm.model import Model
from chiasm.weights import core_tensors, task_file
from chiasm_registry import ChiasmError, CoreInfo, Decoder, Task, TaskSpec
from core.tiny import (
    EchoTask,
    Level,
    LevelDecoder,
    LevelTask,
    description,
    picture,
    talkative,
    tiny_network,
    tokenizer,
)
from torch import nn

TASKS: list[Task] = [LevelTask(), EchoTask()]


def file_of(task: Task, order: int, seed: int = 0, **changes: Any) -> TaskFile:
    network = tiny_network(TASKS, seed=seed)
    made = task_file(network, task.spec.name, task.spec.token, order, "chiasm", torch.bfloat16)
    return TaskFile(**{**vars(made), **changes})


def write(folder: Path, **changes: Any) -> Path:
    """A checkpoint of the tiny core with both tasks."""
    parts: dict[str, Any] = {
        "design": "internvl",
        "config": description(),
        "tokenizer_json": tokenizer().json(),
        "template": "nano",
        "guided_instruction": "Find what is named.",
        "core": core_tensors(tiny_network(TASKS), torch.bfloat16),
        "tasks": [file_of(task, order) for order, task in enumerate(TASKS)],
    }
    write_checkpoint(folder, **{**parts, **changes})
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("model") / "tiny")


def tiny(folder: Path, names: Sequence[str] | None = ("level", "echo"), **more: Any) -> Model:
    return load(folder, **{"plugins": TASKS, "tasks": names, **more})


def test_how_surely_an_answer_begins_is_said_in_the_folder(tmp_path: Path) -> None:
    """A way to begin that must lead by a hundred logits is not taken, the best of the others is."""
    plain = tiny(write(tmp_path / "plain"))
    text = plain.ask(None, "Hello", max_new_tokens=1).text
    assert text
    reluctant = tiny(write(tmp_path / "reluctant", openings={text: 100.0}))
    assert reluctant.voice.openings == ((tuple(plain.tokenizer.encode_user(text)), 100.0),)
    assert reluctant.ask(None, "Hello", max_new_tokens=1).text != text


@pytest.mark.parametrize("names", [["level"], []])
def test_what_is_meant_for_a_task_that_is_not_loaded_is_said_and_goes_nowhere(folder: Path, names: list[str]) -> None:
    whole, part = talkative(tiny(folder)), talkative(tiny(folder, names))
    counted = 0
    for seed in range(6):
        said: dict[str, Any] = {"do_sample": True, "seed": seed, "max_new_tokens": 40}
        one, other = whole.ask(None, "Hi", **said), part.ask(None, "Hi", **said)
        assert one.text.partition(" Not found: ")[0] == other.text.partition(" Not found: ")[0]
        assert not other.outputs
        told = [notice.text for notice in other.notices if notice.task == "echo" and "meant" in notice.text]
        assert bool(told) == bool(one.outputs)
        assert all(text.endswith("meant for task 'echo', which is not loaded") for text in told)
        counted += len(told)
    assert counted


def test_a_task_whose_token_is_a_word_of_the_model_is_left_out(tmp_path: Path) -> None:
    """The others are sound; asked for by name it is an error."""

    class Taken(LevelTask):
        spec = LevelTask.spec.model_copy(update={"name": "taken", "token": "[TAKEN]"})

    spelled, size = json.loads(tokenizer().json()), tokenizer().size
    spelled["added_tokens"].append({**spelled["added_tokens"][-1], "id": size, "content": "[TAKEN]"})
    larger = {"vocabulary": size + 1}
    core = core_tensors(tiny_network(TASKS, **larger), torch.bfloat16)
    parts = {"tokenizer_json": json.dumps(spelled), "config": description(**larger), "core": core}
    folder = write(tmp_path / "m", **parts)
    model = load(folder, plugins=[*TASKS, Taken()])
    assert "taken" not in model.table.tasks
    assert any("is left out: its token is a word of this model already" in notice.text for notice in model.notices)
    with pytest.raises(ChiasmError, match="already in the vocabulary"):
        load(folder, plugins=[Taken()], tasks=["taken"])


def test_a_dtype_may_be_called_by_its_name(folder: Path) -> None:
    assert {p.dtype for p in tiny(folder, dtype="bfloat16").network.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_come_back_to_the_bit(folder: Path, dtype: torch.dtype) -> None:
    """What was written in bfloat16 is what the loaded network holds, in the type that was asked for."""
    wanted, network = tiny_network(TASKS), tiny(folder, dtype=dtype).network
    assert {p.dtype for p in network.parameters()} == {dtype}
    for one, other in [
        (network.backbone_module, wanted.backbone_module),
        (network.decoders, wanted.decoders),
        *((network.rows.row(name), wanted.rows.row(name)) for name in ("level", "echo")),
    ]:
        written = other.state_dict()
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, written[name].to(torch.bfloat16).to(dtype)), name
    embedding, head = network.backbone.matrices()
    assert embedding.data_ptr() == head.data_ptr()
    assert not any(p.requires_grad for p in network.parameters())
    assert not network.training


def test_positions_keep_their_precision_in_any_type(folder: Path) -> None:
    """Rotary frequencies are no weights: rounded to bfloat16 they would misplace what stands far behind."""
    buffers = dict(tiny(folder, dtype=torch.bfloat16).network.backbone_module.named_buffers())
    exact = dict(tiny(folder).network.backbone_module.named_buffers())
    assert buffers
    for name, buffer in buffers.items():
        assert torch.equal(buffer, exact[name])


def test_a_loaded_model_answers(folder: Path) -> None:
    """In both types; bfloat16 is near float32."""
    one = tiny(folder).run("level", picture(), ["dog", "cat"]).outputs["level"]
    other = tiny(folder, dtype=torch.bfloat16).run("level", picture(), ["dog", "cat"]).outputs["level"]
    for exact, coarse in zip(one, other, strict=True):
        assert coarse.slots == pytest.approx(exact.slots, abs=3.0)  # type: ignore[attr-defined]  # a sum of 96 numbers


def test_loading_says_what_is_not_loaded(folder: Path) -> None:
    model = tiny(folder, ["echo"])
    assert [notice.text for notice in model.notices] == ["task 'level' of this checkpoint is not loaded"]


def test_an_absent_task_keeps_its_place(folder: Path) -> None:
    """Its token and its ids stay, masked; the others' ids and slots are the same with and without it."""
    whole, part = tiny(folder), tiny(folder, ["echo"])
    assert part.table.names == whole.table.names == ("level", "echo")
    assert part.network.rows.token_id("echo") == whole.network.rows.token_id("echo")
    one, other = (m.run("echo", picture(), ["dog"]).outputs["echo"][0] for m in (whole, part))
    assert one == other
    with pytest.raises(ChiasmError, match="no task 'level' is loaded; loaded: echo"):
        part.run("level", picture(), ["dog"])


def test_the_checkpoints_order_counts(tmp_path: Path) -> None:
    """Also with a place that no weights are for, and with plugins in any order."""
    files = [file_of(LevelTask(), 0), file_of(EchoTask(), 2)]
    gone = TaskEntry(name="gone", token="[GONE]", embeddings=5, distribution="x", version="1", order=1)
    folder = write(tmp_path / "m", tasks=files, absent=[gone])
    model = tiny(folder, ["level", "echo"], plugins=TASKS[::-1])
    assert model.table.names == ("level", "gone", "echo")
    assert model.network.rows.slot_ids("echo")[0] == model.network.rows.slot_ids("level")[-1] + 6


class NewTask(LevelTask):
    """A task that no checkpoint knows."""

    spec = TaskSpec(name="new", token="[NEW]", embeddings=2, output=Level, summary="new")

    def decoder(self, core: CoreInfo) -> Decoder:
        decoder = LevelDecoder(core)
        nn.init.normal_(decoder.gain)
        return decoder


def test_a_task_without_weights_is_untrained_and_the_same_everywhere(folder: Path) -> None:
    """Seeded; loading leaves the caller's random state as it was."""
    before = torch.get_rng_state()
    models = [tiny(folder, ["new"], plugins=[NewTask(), *TASKS][:count]) for count in (1, 3)]
    assert torch.equal(torch.get_rng_state(), before)
    assert all(model.untrained == {"new"} for model in models)
    assert "task 'new' is untrained: the checkpoint has no weights for it" in [n.text for n in models[0].notices]
    one, other = (model.run("new", picture(), ["dog"]) for model in models)
    assert one.outputs["new"] == other.outputs["new"]
    assert [notice.task for notice in one.notices] == ["new"]


def test_a_task_file_of_the_callers_replaces_the_folders(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    write_task_file(file, file_of(LevelTask(), 0, seed=1))
    one, other = tiny(folder), tiny(folder, tasks_from=[file])
    assert not torch.equal(one.network.rows.row("level").vectors, other.network.rows.row("level").vectors)
    assert torch.equal(one.network.rows.row("echo").vectors, other.network.rows.row("echo").vectors)


def test_weights_that_do_not_fit_their_task_leave_it_untrained(tmp_path: Path) -> None:
    """A plugin of another version: the rest still stands, and the reason is told."""
    odd = file_of(LevelTask(), 0, decoder={"gain": torch.ones(7)})
    model = tiny(write(tmp_path / "m", tasks=[odd, file_of(EchoTask(), 1)]))
    assert model.untrained == {"level"}
    assert "level.safetensors: decoder.gain is (7,)" in model.notices[0].text


class Broken(NewTask):
    """Its decoder cannot be built."""

    fault: Callable[[], Any]

    def decoder(self, core: CoreInfo) -> Any:
        return self.fault()


def broken(fault: Callable[[], Any]) -> Broken:
    task = Broken()
    task.fault = fault
    return task


def leave() -> None:
    raise SystemExit(0)


def test_tasks_that_wait_for_each_other_are_left_out(folder: Path) -> None:
    """In a circle of `after` nobody is first; who asks for one of them by name hears of it."""
    circle = [broken(lambda: None), broken(lambda: None)]
    for task, name, first in zip(circle, ("ca", "cb"), ("cb", "ca"), strict=True):
        told = {"name": name, "token": f"[{name.upper()}]", "after": (first,)}
        task.spec = task.spec.model_copy(update=told)  # type: ignore[misc]
    model = tiny(folder, None, plugins=[*circle, *TASKS])
    assert {"ca", "cb"}.isdisjoint(model.table.tasks)
    notices = [notice.text for notice in model.notices if notice.task in ("ca", "cb")]
    assert notices == [f"task '{name}' is left out: ca, cb wait for each other in `after`" for name in ("ca", "cb")]


@pytest.mark.parametrize(
    "fault",
    [leave, lambda: 1 / 0, lambda: None, lambda: 5, lambda: nn.Linear(2, 2), lambda: object()],
    ids=["SystemExit", "raises", "None", "a number", "no decode()", "an object"],
)
def test_a_decoder_that_cannot_be_built_is_left_out(folder: Path, fault: Callable[[], Any]) -> None:
    """With a word where all tasks are loaded, as an error where it is asked for; the others answer as ever."""
    plugins = [broken(fault), *TASKS]
    model = tiny(folder, None, plugins=plugins)
    assert "new" not in model.table.tasks
    (notice,) = [notice for notice in model.notices if notice.task == "new"]
    assert notice.text.startswith("task 'new' is left out: ")
    assert "0x" not in notice.text
    assert model.run("level", picture(), ["dog"]).outputs == tiny(folder).run("level", picture(), ["dog"]).outputs
    with pytest.raises(ChiasmError, match="task 'new'"):
        tiny(folder, ["new"], plugins=plugins)


def test_a_description_of_another_size_gets_no_memory(tmp_path: Path) -> None:
    """Sixteen thousand million numbers are described and not there: refused before anything is allocated."""
    large = description()
    large["internvl"]["text_config"] |= {"hidden_size": 2**16, "intermediate_size": 2**18}
    folder = write(tmp_path / "m", config=large)
    with pytest.raises(ChiasmError, match=r"core.safetensors"):
        tiny(folder)


def test_a_tokenizer_larger_than_the_vocabulary_is_refused(tmp_path: Path) -> None:
    small = description(vocabulary=300)
    core = core_tensors(tiny_network(TASKS, vocabulary=300), torch.bfloat16)
    with pytest.raises(ChiasmError, match=r"tokenizer.json has 320 tokens, config.json a vocabulary of 300"):
        tiny(write(tmp_path / "m", config=small, core=core, tasks=[]))


CONFIGS: dict[str, dict[str, Any]] = {
    "no internvl": {"internvl": None},
    "internvl a list": {"internvl": []},
    "unknown design": {"design": "other"},
    "design a list": {"design": ["internvl"]},
    "trunk text": {"trunk": "yes"},
    "max_tiles 0": {"max_tiles": 0},
    "max_tiles huge": {"max_tiles": 10**9},
    "max_tiles text": {"max_tiles": "12"},
    "unknown language": {"internvl": {**description()["internvl"], "text_config": {"model_type": "nope"}}},
    "width text": {"internvl": {**description()["internvl"], "downsample_ratio": "half"}},
    "grid not square": {"internvl": {"vision_config": {"image_size": [56, 28], "patch_size": 14}}},
    "grid not shuffled": {"internvl": {"vision_config": {"image_size": 70, "patch_size": 14}}},
    "patches that do not fit": {"internvl": {"vision_config": {"image_size": 60, "patch_size": 14}}},
    "trunk with other patches": {"trunk": True},
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_bad_description_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    folder = write(tmp_path / "m", config={**description(), **CONFIGS[case]})
    with pytest.raises(ChiasmError) as caught:
        tiny(folder)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) <= 200


def test_files_of_two_designs_are_refused(tmp_path: Path) -> None:
    config = {"design": "internvl", **description()}
    with pytest.raises(ChiasmError, match=r"config\.json names the design 'internvl', chiasm\.json 'llava'; take both"):
        tiny(write(tmp_path / "m", design="llava", config=config))


def test_an_unknown_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ChiasmError, match=r"wants the prompt template 'alpaca'; known: nano"):
        tiny(write(tmp_path / "m", template="alpaca"))


WRONG: dict[str, Callable[[Path], Any]] = {
    "missing folder": lambda folder: load(folder / "nowhere"),
    "unknown name": lambda folder: load("micro"),
    "name too long": lambda folder: load("a" * 300),
    "name with NUL": lambda folder: load("a\0b"),
    "empty name": lambda folder: load(""),
    "bytes": lambda folder: load(b"nano"),  # type: ignore[arg-type]
    "None": lambda folder: load(None),  # type: ignore[arg-type]
    "a number": lambda folder: load(5),  # type: ignore[arg-type]
    "a file": lambda folder: load(folder / "chiasm.json"),
    "unknown device": lambda folder: tiny(folder, device="gpu"),
    "absent device": lambda folder: tiny(folder, device="hpu"),
    "no device": lambda folder: tiny(folder, device="meta"),
    "device None": lambda folder: tiny(folder, device=None),
    "device a list": lambda folder: tiny(folder, device=["cpu"]),
    "dtype text": lambda folder: tiny(folder, dtype="half"),
    "dtype int8": lambda folder: tiny(folder, dtype=torch.int8),
    "dtype complex": lambda folder: tiny(folder, dtype=torch.complex64),
    "unknown task": lambda folder: tiny(folder, ["depth"]),
    "tasks a str": lambda folder: tiny(folder, "level"),
    "tasks a number": lambda folder: tiny(folder, 5),  # type: ignore[arg-type]
    "tasks with a number": lambda folder: tiny(folder, [5]),  # type: ignore[list-item]
    "tasks an array of no dimension": lambda folder: tiny(folder, np.array("level")),  # type: ignore[arg-type]
    "progress a number": lambda folder: tiny(folder, progress=5),
    "max_memory without device_map": lambda folder: tiny(folder, max_memory={"cpu": "1GiB"}),
    "tasks with a list": lambda folder: tiny(folder, [["level"]]),  # type: ignore[list-item]
    "tasks_from a str": lambda folder: tiny(folder, tasks_from="level.safetensors"),
    "tasks_from with a number": lambda folder: tiny(folder, tasks_from=[5]),
    "tasks_from missing": lambda folder: tiny(folder, tasks_from=["no.safetensors"]),
    "tasks_from no task": lambda folder: tiny(folder, tasks_from=[folder / "core.safetensors"]),
    "tasks_from twice": lambda folder: tiny(folder, tasks_from=[folder / "level.safetensors"] * 2),
    "tasks_from of a task that is not loaded": lambda folder: tiny(
        folder, ["echo"], tasks_from=[folder / "level.safetensors"]
    ),
    "plugins a number": lambda folder: tiny(folder, plugins=5),
    "plugins a task": lambda folder: tiny(folder, plugins=LevelTask()),
    "plugins without a hook": lambda folder: tiny(folder, plugins=[object()]),
    "plugins twice": lambda folder: tiny(folder, plugins=[LevelTask(), LevelTask()]),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_arguments_are_refused_in_one_line(folder: Path, case: str) -> None:
    with pytest.raises(ChiasmError) as caught:
        WRONG[case](folder)
    message = str(caught.value)
    assert message.isprintable()
    assert 0 < len(message) <= 200 + len(str(folder))
    assert " at 0x" not in message


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"token": "[OTHER]"}, "has the token"), ({"vectors": torch.zeros(2, 32), "embeddings": 2}, "embeddings is")],
)
def test_a_task_file_that_does_not_fit_is_an_error(
    folder: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """What the caller asks for by name is not quietly left out."""
    file = tmp_path / "odd.safetensors"
    write_task_file(file, file_of(LevelTask(), 0, **changes))
    with pytest.raises(ChiasmError, match=message):
        tiny(folder, tasks_from=[file])


def test_a_folder_is_left_as_it_was(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    tiny(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert json.loads(before["chiasm.json"])["template"] == "nano"
