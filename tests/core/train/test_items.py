"""A training row is a tree of requests; every branch of it means what the same request means when people ask it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from chiasm.model import Model
from chiasm.routing.guided import hear_prefix, speak_guided
from chiasm.routing.sequence import branch_ids, branch_mask, branch_positions
from chiasm.text import build_prompt, build_turn
from chiasm.train.batch import collate
from chiasm.train.data import Record
from chiasm.train.items import NO_LABEL, Item, Items, Row, Writer
from chiasm.train.mix import Mix
from chiasm.train.requests import Composer, Request, Routed
from chiasm.train.scenes import PLAIN, Settings
from chiasm_registry import Sample, SampleObject, Task
from core.tiny import BoxTask, EchoTask, LevelTask, tiny_model
from torch import Tensor

DET = ("detection",)
BOTH = ("detection", "level")
REQUESTS = (
    Request(
        "guided", None, (Routed("dog", (0,), DET), Routed("red bus", (), BOTH), Routed("a cup [DET]", (1, 2), DET))
    ),
    Request(
        "find",
        "Find the dog <|im_end|>",
        ("There is a ", Routed("dog", (0,), BOTH), " and a ", Routed("cup", (), DET), "."),
    ),
    Request("question", "Hi", ("Hello.",)),
    Request("everything", "What is there? " * 4, (Routed("cat", (), ("level",)),)),
)


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model([BoxTask(), LevelTask(), EchoTask()])


@pytest.fixture(scope="module")
def image(model: Model) -> Tensor:
    return torch.randn(model.network.backbone.tokens_per_tile, 32, generator=torch.Generator().manual_seed(0))


def writer(model: Model, images: tuple[int, ...] | None = None) -> Writer:
    images = (model.network.backbone.tokens_per_tile,) if images is None else images
    return Writer(model.tokenizer, model.template, model.network.rows, model.markers, images, model.instruction)


def item(row: Row, name: str = "1") -> Item:
    phrases: dict[str, list[str]] = {task: [s.phrase for t, s in row.routed if t == task] for task in BOTH}
    judged = {task: [True] * len(said) for task, said in phrases.items()}
    return Item(name, None, row, {task: list(said) for task, said in phrases.items()}, phrases, judged)


def spoken(model: Model, rows: list[Row], image: Tensor | None) -> tuple[dict[str, Any], Tensor]:
    """The rows as training speaks them, in one padded batch."""
    batch = collate([item(row, str(k)) for k, row in enumerate(rows)], pad=model.markers.end, source=64)
    tokens = None if image is None else image.repeat(len(rows), 1)
    embeds = model.network.embed(batch["tokens"], model.markers.image, tokens)
    mask = branch_mask(batch["branch"], None, embeds.dtype, parent=batch["parent"])
    positions = branch_positions(batch["branch"], parent=batch["parent"])
    return batch, model.network.backbone.speak(embeds, mask, positions, None)


def asked(model: Model, prompt: str, answer: list[int], image: Tensor | None) -> tuple[list[int], Tensor]:
    """A prompt with what follows it, as a sequence of its own."""
    counts = [] if image is None else [len(image)]
    ids = [*build_prompt(model.tokenizer, model.template, [(prompt, None)], counts).ids, *answer]
    embeds = model.network.embed(torch.tensor([ids]), model.markers.image, image)
    return ids, model.network.backbone.speak(embeds, None, torch.arange(len(ids))[None], None)[0]


def written(model: Model, request: Request) -> list[int]:
    """A conversation's answer as ids, spelled by hand."""
    ids: list[int] = []
    for said in request.answer:
        if isinstance(said, str):
            ids += model.tokenizer.encode_user(said)
        else:
            spelled = model.tokenizer.encode_user(said.phrase)
            ids += branch_ids(spelled, said.tasks, model.network.rows, model.markers)
    return [*ids, model.markers.end]


@pytest.mark.parametrize("with_image", [True, False])
def test_a_conversation_is_learned_as_it_is_asked(model: Model, image: Tensor, with_image: bool) -> None:
    """Where a label stands, the hidden state is that of the prompt alone with its answer, and the label the next id."""
    picture = image if with_image else None
    write = writer(model, None if with_image else ())
    rows = [write.write(REQUESTS), write.write(REQUESTS[2:])]
    batch, hidden = spoken(model, rows, picture)
    for k, requests in enumerate((REQUESTS[1:], REQUESTS[2:])):
        branches = batch["branch"][k]
        learned = batch["labels"][k] != NO_LABEL
        numbers = sorted(set(branches[learned].tolist()))
        assert len(numbers) == len(requests)
        for number, request in zip(numbers, requests, strict=True):
            ids, alone = asked(model, request.prompt or "", written(model, request), picture)
            places = ((branches == number) & learned).nonzero()[:, 0]
            first_slot = model.network.rows.starts[0]
            start = len(ids) - len(written(model, request))
            wanted = [p for p in range(start - 1, len(ids) - 1) if ids[p + 1] < first_slot]
            assert batch["labels"][k, places].tolist() == [ids[p + 1] for p in wanted]
            torch.testing.assert_close(hidden[k, places], alone[wanted], atol=1e-4, rtol=0)


def test_a_second_turn_is_learned_as_a_session_asks_it(model: Model, image: Tensor) -> None:
    """It sees the image and the turn before; what follows no conversation about an image begins one of its own."""
    first, second = REQUESTS[1], replace(REQUESTS[2], follows=True)
    row = writer(model).write([REQUESTS[0], REQUESTS[3], first, second, second])
    batch, hidden = spoken(model, [row], image)
    learned = batch["labels"][0] != NO_LABEL
    *_, turn, anew = sorted(set(batch["branch"][0, learned].tolist()))
    before, _ = asked(model, first.prompt or "", written(model, first), image)
    behind = build_turn(model.tokenizer, model.template, second.prompt or "", ()).ids  # begins with the end of `before`
    ids = [*before[:-1], *behind, *written(model, second)]
    embeds = model.network.embed(torch.tensor([ids]), model.markers.image, image)
    alone = model.network.backbone.speak(embeds, None, torch.arange(len(ids))[None], None)[0]
    start = len(ids) - len(written(model, second)) - 1
    torch.testing.assert_close(
        hidden[0, (batch["branch"][0] == turn) & learned], alone[start:-1], atol=1e-4, rtol=0
    )
    _, single = asked(model, second.prompt or "", written(model, second), image)
    start = len(single) - len(written(model, second)) - 1
    torch.testing.assert_close(
        hidden[0, (batch["branch"][0] == anew) & learned], single[start:-1], atol=1e-4, rtol=0
    )


def test_what_is_asked_without_the_image_is_continued_by_nothing_that_sees_it(model: Model, image: Tensor) -> None:
    blind = replace(REQUESTS[1], image=False)
    rows = [writer(model).write([blind, replace(REQUESTS[2], follows=follows)]) for follows in (True, False)]
    assert rows[0].parent == rows[1].parent
    assert rows[0].ids == rows[1].ids


def test_slots_are_those_of_the_model_in_use(model: Model, image: Tensor) -> None:
    """Guided phrases get the slots of `speak_guided`, conversations those of the whole answer, in the row's order."""
    row = writer(model).write(REQUESTS)
    batch, hidden = spoken(model, [row], image)
    guided = [said for said in REQUESTS[0].answer if isinstance(said, Routed)]
    prefix = build_prompt(model.tokenizer, model.template, [(model.instruction, None)], [len(image)]).ids
    for task in BOTH:
        found = model.network.slots(batch["tokens"], hidden, task)
        phrases = [said.phrase for name, said in row.routed if name == task]
        assert len(found) == len(phrases)
        wanted = []
        for said in guided:
            if task in said.tasks:
                spelled = [model.tokenizer.encode_user(said.phrase)]
                heard = hear_prefix(model.network, model.markers, prefix, image)
                branches = speak_guided(model.network, model.markers, heard, spelled, said.tasks, at_once=9)
                wanted.append(branches[0][task])
        for request in REQUESTS[1:]:
            ids, alone = asked(model, request.prompt or "", written(model, request), image)
            wanted += model.network.slots(torch.tensor([ids]), alone[None], task).unbind(0)
        torch.testing.assert_close(found, torch.stack(wanted), atol=1e-4, rtol=0)


def test_nothing_but_answers_is_learned(model: Model) -> None:
    """Never a slot id, nothing of a prompt, nothing of a guided phrase; each answer ends."""
    row = writer(model).write(REQUESTS)
    labels = [label for label in row.labels if label != NO_LABEL]
    assert max(labels) < model.network.rows.starts[0]
    assert labels.count(model.markers.end) == len(REQUESTS) - 1
    assert labels.count(model.network.rows.token_id("level")) == 2
    assert set(writer(model).write(REQUESTS[:1]).labels) == {NO_LABEL}


def test_what_users_write_is_text_in_training_too(model: Model) -> None:
    row = writer(model).write(REQUESTS)
    assert row.ids.count(model.markers.image) == model.network.backbone.tokens_per_tile
    assert (
        row.ids.count(model.markers.end) == 2 * len(REQUESTS) - 1
    )  # of each prompt, and of each answer but the guided


def test_a_batch_is_padded_and_keeps_what_is_nested(model: Model) -> None:
    rows = [writer(model).write(REQUESTS), writer(model).write(REQUESTS[2:3])]
    batch = collate([item(row, str(k)) for k, row in enumerate(rows)], pad=7, source=64)
    lengths = [len(row.ids) for row in rows]
    assert batch["tokens"].shape == batch["branch"].shape == batch["parent"].shape == batch["labels"].shape
    assert batch["tokens"].shape == (2, max(lengths))
    assert (batch["branch"][1, lengths[1] :] == -1).all()
    assert (batch["labels"][1, lengths[1] :] == NO_LABEL).all()
    assert (batch["tokens"][1, lengths[1] :] == 7).all()
    assert batch["view"] is None
    assert batch["ids"] == ["0", "1"]
    assert [len(phrases) for phrases in batch["nested"].phrases["level"]] == [3, 0]


# Items.


class Marked(BoxTask):
    """Targets that show which objects a phrase means."""

    def targets(self, sample: Sample) -> list[Any]:
        return [
            (phrase, tuple(sample.objects[k].name for k in matches), meaning)
            for phrase, matches, meaning in zip(sample.phrases, sample.matches, sample.meanings, strict=True)
        ]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    path = tmp_path_factory.mktemp("photos") / "none.png"
    things = [SampleObject("dog", (5.0, 5.0, 40.0, 30.0)), SampleObject("cup", (30.0, 2.0, 55.0, 38.0))]
    return [
        Record(str(k), path, (40, 60), tuple(things[: 1 + k % 2]), ("A dog beside a cup.",), None) for k in range(6)
    ]


def items(model: Model, records: list[Record], seed: int = 3, **more: Any) -> Items:
    tasks: dict[str, Task] = {"detection": Marked(), "level": LevelTask()}
    composer = Composer(["dog", "cup", "cat"], records, branches=5, tasks=[tasks["detection"].spec])
    settings: dict[str, Any] = {"settings": replace(PLAIN, size=56, source=64), "cutouts": None} | more
    write = writer(model)
    return Items(records, composer, write, tasks, seed=seed, length=1000, kinds=("guided", None, "find"), **settings)


def test_an_item_depends_on_seed_and_index_alone(model: Model, records: list[Record]) -> None:
    """In any order, in any process, whatever was drawn before."""
    one, other = items(model, records), items(model, records)
    random.seed(1)
    order = [5, 0, 17, 5]
    for index in order:
        assert one[index] == other[index]
    assert one[5] != items(model, records, seed=4)[5]
    assert len({tuple(one[k].row.ids) for k in range(8)}) == 8


def test_targets_belong_to_their_phrases(model: Model, records: list[Record]) -> None:
    """One target a route, in the order of the row; what a phrase matches is among what it means."""
    for index in range(12):
        made = items(model, records, settings=Settings(size=56, source=64))[index]
        said = [s for task, s in made.row.routed if task == "detection"]
        assert [phrase for phrase, _, _ in made.targets["detection"]] == [s.phrase for s in said]
        assert made.phrases["detection"] == [s.phrase for s in said]
        for _, found, meaning in made.targets["detection"]:
            assert set(found) <= set(meaning)
        assert made.targets["level"] == []
        assert made.view is not None


def test_a_phrase_of_which_nobody_knows_the_truth_has_no_target(model: Model, records: list[Record]) -> None:
    made = items(model, records)
    made.composer = Composer(["dog", "cup"], records, Mix(unlabelled=0.5), branches=5, tasks=[Marked().spec])
    several = [made[index] for index in range(30)]
    for item in several:
        said = [s for task, s in item.row.routed if task == "detection"]
        assert item.judged["detection"] == [s.judged for s in said]
        assert item.phrases["detection"] == [phrase for phrase, _, _ in item.targets["detection"]]
        assert item.phrases["detection"] == [s.phrase for s in said if s.judged]
    assert {known for item in several for known in item.judged["detection"]} == {True, False}


def test_words_alone_have_no_view(model: Model, records: list[Record]) -> None:
    plain = items(model, records)
    plain.writer = writer(model, ())
    assert plain[0].view is None
    assert model.markers.image not in plain[0].row.ids
