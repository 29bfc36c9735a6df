"""A tiny random core in memory, and fake tasks whose answers show every number that reaches them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any

import torch
from chiasm.assemble import assemble, markers_of
from chiasm.limits import LIMITS, Limits
from chiasm.model import Model
from chiasm.routing.network import Network
from chiasm.text import TEMPLATES, Tokenizer, train_tokenizer
from chiasm_registry import Box, Boxes, CoreInfo, Decoder, Output, Route, Scene, ScoredBox, Task, TaskSpec, TaskTable
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

torch.set_num_threads(1)

WIDTH = 32
TEXTS = (
    "Find the dog, the cat and a cup.",
    "Where is the red bus? There is a bus in the picture.",
    "What is in the picture? A person on a motorcycle beside a dog.",
    "How many cups are there? There are three cups.",
)
NAMES = ("dog", "cat", "red bus", "motorcycle", "a person on a horse", "cup")


@cache
def tokenizer() -> Tokenizer:
    """A vocabulary of its own: bytes, control tokens, a few words."""
    return train_tokenizer(TEXTS * 3, 320)


def description(
    *, trunk: bool = False, tied: bool = True, vocabulary: int | None = None, **more: Any
) -> dict[str, Any]:
    """A `config.json`: an InternVL of width 32; 56 pixels in patches of 14, or 128 pixels behind a trunk."""
    vision = {
        "image_size": 128 if trunk else 56,
        "patch_size": 16 if trunk else 14,
        "hidden_size": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "layer_scale_init_value": 1.0,
    }
    text = {
        "model_type": "qwen2",
        "hidden_size": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 8192,
        "vocab_size": vocabulary or tokenizer().size,
        "tie_word_embeddings": tied,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": None,
    }
    internvl = {
        "vision_config": vision,
        "text_config": text,
        "downsample_ratio": 0.5,
        "image_token_id": tokenizer().id_of("<IMG_CONTEXT>"),
        "tie_word_embeddings": tied,
    }
    return {"design": "internvl", "internvl": internvl, "trunk": trunk, "max_tiles": 1 if trunk else 4, **more}


class Level(Output):
    """Sums of what came in: a changed bit of the inputs changes them."""

    slots: float
    maps: float
    pixels: float


class LevelOptions(BaseModel):
    """One option, to be checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    scale: float = 1.0


class LevelDecoder(nn.Module):
    """Adds up its inputs."""

    def __init__(self, core: CoreInfo) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(core.width))

    def decode(self, scene: Scene, routes: Sequence[Route]) -> Sequence[Output]:
        maps = float(sum(m.double().abs().sum() for m in scene.maps))
        pixels = float(scene.pixels(8).double().sum()) if scene.maps else 0.0
        return [Level(slots=float((r.slots * self.gain).double().sum()), maps=maps, pixels=pixels) for r in routes]


class LevelTask(Task):
    """A task of three embeddings that anything can be asked of."""

    spec = TaskSpec(name="level", token="[LEVEL]", embeddings=3, output=Level, summary="sums", options=LevelOptions)

    def decoder(self, core: CoreInfo) -> Decoder:
        return LevelDecoder(core)


class EchoTask(Task):
    """A task of one embedding that wants no image."""

    spec = TaskSpec(name="echo", token="[ECHO]", embeddings=1, output=Level, summary="sums", needs_image=False)

    def decoder(self, core: CoreInfo) -> Decoder:
        return LevelDecoder(core)


class BoxOptions(BaseModel):
    """What `Model.detect` carries."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    threshold: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    max_objects: Annotated[int, Field(ge=1, le=1000)] = 100


class BoxDecoder(nn.Module):
    """One box a phrase, whose edges and score are functions of its slots; nothing below the threshold."""

    def __init__(self, core: CoreInfo) -> None:
        super().__init__()
        self.edges = nn.Linear(4 * core.width, 5)

    def decode(self, scene: Scene, routes: Sequence[Route]) -> Sequence[Boxes]:
        numbers = self.edges(torch.stack([route.slots.flatten() for route in routes])).sigmoid().tolist()
        return [self._boxes(scene.size_hw, route, *row) for route, row in zip(routes, numbers, strict=True)]

    @staticmethod
    def _boxes(size_hw: tuple[int, int], route: Route, a: float, b: float, c: float, d: float, score: float) -> Boxes:
        (h, w), (x0, x1), (y0, y1) = size_hw, sorted((a, b)), sorted((c, d))
        box = ScoredBox(box=Box(xyxy=(x0 * w, y0 * h, x1 * w, y1 * h)), score=score)
        return Boxes(items=(box,) if score >= route.options.threshold else ())


class BoxTask(Task):
    """A fake detection, so that core's tests stand without the real one."""

    spec = TaskSpec(
        name="detection", token="[DET]", embeddings=4, output=Boxes, summary="a box", options=BoxOptions,
        phrasings=("Find {names}.",),
    )  # fmt: skip

    def decoder(self, core: CoreInfo) -> Decoder:
        return BoxDecoder(core)


def fakes() -> list[Task]:
    """All fake tasks."""
    return [BoxTask(), LevelTask(), EchoTask()]


@torch.no_grad()
def tiny_network(tasks: Sequence[Task], *, seed: int = 0, **described: Any) -> Network:
    """A network whose numbers are large enough to make a difference."""
    table = TaskTable.build(tasks)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = assemble(description(**described), table, {task.spec.name: task for task in tasks})
        for name, parameter in network.named_parameters():
            if name.endswith(".asking"):
                continue  # a task has no ear for requests until it is trained alone
            if name.startswith("rows.") or ("internvl" in name and ".trunk." not in name and parameter.ndim > 1):
                parameter.normal_(0.0, 0.3)
    return network.eval().requires_grad_(False)


def tiny_model(
    tasks: Sequence[Task] | None = None, *, untrained: Sequence[str] = (), limits: Limits = LIMITS, **described: Any
) -> Model:
    """A whole model; `described` goes to `description` and `tiny_network`."""
    tasks = fakes() if tasks is None else tasks
    network, table = tiny_network(tasks, **described), TaskTable.build(tasks)
    words, template = tokenizer().with_tasks(table.tokens), TEMPLATES["nano"]
    return Model(
        network=network,
        table=table,
        tokenizer=words,
        template=template,
        markers=markers_of(words, template),
        instruction="Find what is named.",
        untrained=frozenset(untrained),
        limits=limits,
    )


def talkative(model: Model, *, phrase: float = 6.0, close: float = 7.0, route: float = 7.5, end: float = 2.0) -> Model:
    """The model with a strong will to name and to route things; what it says is still its own."""
    network, markers = model.network, model.markers
    bias = torch.zeros(network.rows.base + len(network.rows.names))
    bias[[markers.ref, markers.unref, markers.end]] = torch.tensor([phrase, close, end])
    bias[network.rows.base :] = route
    plain = network.rows.logits

    def biased(hidden: Tensor, base: Tensor) -> Tensor:
        return plain(hidden, base) + bias

    network.rows.logits = biased  # type: ignore[method-assign]
    return model


def picture(width: int = 60, height: int = 40, seed: int = 0) -> Image.Image:
    """A smooth random picture."""
    generator = torch.Generator().manual_seed(seed)
    coarse = (torch.rand(6, 6, 3, generator=generator) * 255).to(torch.uint8).numpy()
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
