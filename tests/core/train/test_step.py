"""One training step: named losses that are what they say, and gradients where something is to be learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from chiasm.routing.network import Network
from chiasm.text import TEMPLATES
from chiasm.train.batch import collate
from chiasm.train.items import NO_LABEL, Item, Row, Writer
from chiasm.train.requests import Request, Routed
from chiasm.train.step import Pictures, Step
from chiasm_registry import CoreInfo, Decoder, Route, Scene
from core.tiny import BoxDecoder, BoxTask, LevelTask, tiny_model
from torch import Tensor, nn

DET = ("detection",)
CAT = Request("find", "Find the cat", ("A ", Routed("cat", (), DET), "."))
GUIDED = Request("guided", None, (Routed("dog", (), DET), Routed("cup", (), DET)))


class Learner(BoxDecoder):
    """Learns that slots and maps are zero, and remembers what it was given."""

    def loss(
        self, scenes: Sequence[Scene], routes: Sequence[Sequence[Route]], targets: Sequence[Sequence[Any]]
    ) -> Mapping[str, Tensor]:
        self.given = (scenes, routes, targets)
        slots = torch.stack([route.slots for of_image in routes for route in of_image])
        return {"slots": slots.square().mean(), "maps": torch.stack([s.maps[0] for s in scenes]).square().mean()}


class LearnTask(BoxTask):
    def decoder(self, core: CoreInfo) -> Decoder:
        return Learner(core)


class Views(Pictures):
    """Pictures that need no photographs."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def views(self, view: Mapping[str, Any], size: int) -> Tensor:
        self.sizes.append(size)
        return torch.rand(len(view["colours"]), 3, size, size, generator=torch.Generator().manual_seed(0))


def step_of(**more: Any) -> tuple[Step, Writer]:
    model = tiny_model([LearnTask(), LevelTask()], **more.pop("described", {}))
    model.network.requires_grad_(True)
    images = (model.network.backbone.tokens_per_tile,)
    writer = Writer(model.tokenizer, TEMPLATES["nano"], model.network.rows, model.markers, images, "Find it.")
    step = Step(model.network, model.markers, Views(), **{"dropout": 0.0, **more})
    return step, writer


def batch_of(step: Step, rows: Sequence[Row], *, view: bool = True) -> dict[str, Any]:
    items = []
    for k, row in enumerate(rows):
        routed = {task: [said for name, said in row.routed if name == task] for task in ("detection", "level")}
        phrases = {task: [one.phrase for one in said if one.judged] for task, said in routed.items()}
        targets: dict[str, list[Any]] = {task: [f"target of {p}" for p in said] for task, said in phrases.items()}
        judged = {task: [one.judged for one in said] for task, said in routed.items()}
        items.append(Item(str(k), None, row, targets, phrases, judged))
    made = collate(items, pad=step.markers.end, source=64)
    made.pop("ids")
    return {**made, "view": {"colours": torch.zeros(len(rows), 3, 4)} if view else None}


def test_losses_are_named_and_add_up() -> None:
    step, writer = step_of()
    losses = step(**batch_of(step, [writer.write([GUIDED, CAT]), writer.write([CAT])]))
    assert set(losses) == {"loss", "loss/text", "loss/detection/slots", "loss/detection/maps"}
    total = sum(loss for name, loss in losses.items() if name != "loss")
    torch.testing.assert_close(losses["loss"], total)
    assert all(loss.shape == () for loss in losses.values())


def test_the_text_loss_is_the_cross_entropy_of_the_answers() -> None:
    step, writer = step_of(text_weight=2.0)
    batch = batch_of(step, [writer.write([GUIDED, CAT])])
    losses = step(**batch)
    tiles = (
        step.pictures.views(batch["view"], 56) - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    ) / torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    seen = step.network.backbone.see(tiles)
    hidden = step._speak(batch["tokens"], batch["branch"], batch["parent"], seen.tokens.flatten(0, 1))
    learned = batch["labels"] != NO_LABEL
    wanted = F.cross_entropy(step.network.logits(hidden[learned]), batch["labels"][learned])
    torch.testing.assert_close(losses["loss/text"], 2 * wanted)


def test_a_decoder_is_taught_only_by_images_that_have_routes_of_it() -> None:
    """Scenes, routes and targets are nested alike; slots and embeddings are the routes' own."""
    step, writer = step_of()
    plain = Request("question", "Hi", ("Hello.",))
    step(**batch_of(step, [writer.write([GUIDED, CAT]), writer.write([plain]), writer.write([CAT])]))
    learner = step.network.decoders["detection"]
    scenes, routes, targets = learner.given
    assert [len(of_image) for of_image in routes] == [3, 1]
    assert len(scenes) == 2
    assert [[r.phrase for r in of_image] for of_image in routes] == [["dog", "cup", "cat"], ["cat"]]
    assert [list(of_image) for of_image in targets] == [
        [f"target of {p}" for p in ("dog", "cup", "cat")],
        ["target of cat"],
    ]
    assert routes[0][0].slots.shape == (4, 32)
    assert torch.equal(routes[0][0].embeddings, step.network.rows.row("detection").vectors)
    assert scenes[0].size_hw == (56, 56)
    assert scenes[1].pixels(28).shape == (3, 28, 28)
    assert not torch.equal(scenes[0].maps[0], scenes[1].maps[0])


def test_a_decoder_is_taught_nothing_about_a_phrase_of_which_nobody_knows_the_truth() -> None:
    """The others keep their own slots; where nothing else was asked there is no loss of the task."""
    step, writer = step_of()
    dog, mug, cup = (Routed(name, (), DET, judged=name != "mug") for name in ("dog", "mug", "cup"))
    several = Request("find", "Find all", ("A ", dog, ", ", mug, " and ", cup, "."))
    rows = [writer.write([several]), writer.write([Request("find", "Find it", (mug,))])]
    assert "loss/detection/slots" not in step(**batch_of(step, rows[1:]))
    step(**batch_of(step, rows))
    scenes, routes, targets = step.network.decoders["detection"].given
    assert len(scenes) == 1
    assert [route.phrase for route in routes[0]] == ["dog", "cup"]
    assert list(targets[0]) == ["target of dog", "target of cup"]
    batch = batch_of(step, rows[:1])
    seen = step.network.backbone.see(step._tiles(batch["view"])[1])
    hidden = step._speak(batch["tokens"], batch["branch"], batch["parent"], seen.tokens.flatten(0, 1))
    first, _, last = step.network.slots(batch["tokens"], hidden, "detection")
    torch.testing.assert_close(routes[0][0].slots, first)
    torch.testing.assert_close(routes[0][1].slots, last)


def test_gradients_reach_everything_that_spoke_or_saw() -> None:
    """Language, eye, rows and embeddings of the routed task; nothing of a task that nobody asked."""
    step, writer = step_of()
    step(**batch_of(step, [writer.write([GUIDED, CAT])]))["loss"].backward()
    touched = {name for name, p in step.network.named_parameters() if p.grad is not None and p.grad.any()}
    row = step.network.rows.row("detection")
    assert row.vectors.grad is not None
    assert row.vectors.grad.any(dim=1).all()
    assert row.output.grad is not None
    assert row.output.grad.any()
    for part in ("language_model.layers.0", "vision_tower.encoder", "multi_modal_projector", "embed_tokens"):
        assert any(part in name for name in touched), part
    level = step.network.rows.row("level")
    assert level.vectors.grad is None or not level.vectors.grad.any()


def test_words_alone_teach_language_only() -> None:
    model = tiny_model([LearnTask(), LevelTask()])
    model.network.requires_grad_(True)
    writer = Writer(model.tokenizer, TEMPLATES["nano"], model.network.rows, model.markers, (), "Find it.")
    step = Step(model.network, model.markers, Views(), dropout=0.0)
    losses = step(**batch_of(step, [writer.write([CAT])], view=False))
    assert set(losses) == {"loss", "loss/text"}
    losses["loss"].backward()
    assert model.network.rows.row("detection").output.grad is not None


def test_dropout_is_for_training_only() -> None:
    step, writer = step_of(dropout=0.5)
    batch = batch_of(step, [writer.write([CAT])])
    step.eval()
    assert step(**batch)["loss"] == step(**batch)["loss"]
    step.train()
    assert step(**batch)["loss"] != step(**batch)["loss"]


def frozen_copy(network: Network) -> nn.Module:
    import copy

    patches = network.backbone_module.internvl.model.vision_tower.embeddings.patch_embeddings  # type: ignore[union-attr]
    return copy.deepcopy(patches.trunk).requires_grad_(False).eval()  # type: ignore[union-attr,no-any-return]


@pytest.mark.parametrize("moves", [False, True], ids=["a frozen trunk", "a trunk that learns"])
def test_reference_maps_are_those_of_the_initial_trunk(moves: bool) -> None:
    """Without a reference there are none; with one they stay as the trunk was before it learned."""
    step, writer = step_of(described={"trunk": True})
    batch = batch_of(step, [writer.write([CAT])])
    step(**batch)
    assert step.network.decoders["detection"].given[0][0].reference_maps == ()
    reference = frozen_copy(step.network)
    taught = Step(step.network, step.markers, Views(), dropout=0.0, reference=reference)
    assert set(taught.state_dict()) == set(step.state_dict())
    taught(**batch)
    before = [m.clone() for m in step.network.decoders["detection"].given[0][0].reference_maps]
    assert not any(m.requires_grad for m in before)
    for parameter in step.network.backbone.trunk_parameters():
        parameter.requires_grad_(moves)
        with torch.no_grad():
            parameter.add_(0.01 if moves else 0.0)
    taught(**batch)
    scene = step.network.decoders["detection"].given[0][0]
    for then, now, own in zip(before, scene.reference_maps, scene.maps, strict=True):
        torch.testing.assert_close(now, then)
        assert torch.equal(own, now) is not moves


def test_a_frozen_trunk_that_was_trained_before_is_not_the_initial_one() -> None:
    """As in a run from a folder: the maps differ, and the reference's are those of the initial weights."""
    step, writer = step_of(described={"trunk": True})
    batch = batch_of(step, [writer.write([CAT])])
    reference = frozen_copy(step.network)
    with torch.no_grad():
        for parameter in step.network.backbone.trunk_parameters():
            parameter.requires_grad_(False).add_(0.01)
    Step(step.network, step.markers, Views(), dropout=0.0, reference=reference)(**batch)
    scene = step.network.decoders["detection"].given[0][0]
    assert not any(torch.equal(a, b) for a, b in zip(scene.maps, scene.reference_maps, strict=True))


def test_a_prefix_that_nothing_comes_into_is_spoken_once_without_gradients() -> None:
    """Losses and gradients are those of the whole pass; images of one batch share their prefix's length."""
    step, writer = step_of()
    batch = batch_of(step, [writer.write([GUIDED, CAT]), writer.write([CAT])])
    found = []
    for frozen in (False, True):
        step.network.backbone_module.requires_grad_(not frozen)
        step.zero_grad()
        losses = step(**batch)
        losses["loss"].backward()
        vectors = step.network.rows.row("detection").vectors.grad
        assert vectors is not None
        found.append((losses["loss"].detach(), vectors.clone()))
    torch.testing.assert_close(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-4, atol=1e-5)
