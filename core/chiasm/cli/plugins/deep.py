"""What `chiasm plugins check --deep` tries besides the kit: the task on the embedded model, beside the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chiasm_registry.child import Tell
    from PIL.Image import Image

    from ...model import Model

MODEL = "nano"
PHRASES = ["person", "red disc"]


def asked_on_nano(task: str, tell: Tell) -> None:
    """Load the embedded model with the task, ask it, look at the others, write and read its file."""
    from chiasm_registry.guard import fault_text
    from chiasm_registry.settings import Settings, applied
    from chiasm_registry.testing import draw_shapes

    own = Settings.read().only or ()
    picture = draw_shapes(1, size_hw=(240, 320))[0].picture
    with applied(Settings(only=("chiasm", *own))):
        tell({"begins": "nano"})
        try:
            for rule, fault in _tried(task, picture):
                tell({"rule": rule, "verdict": "failed" if fault else "ok", "reason": fault})
                tell({"begins": "nano"})
        except Exception as error:
            tell({"rule": "nano", "verdict": "failed", "reason": fault_text(error, "")})


def _tried(task: str, picture: Image) -> Iterator[tuple[str, str]]:
    from ...loading import load

    model = load(MODEL, tasks=None)
    if task not in model.table.tasks:
        yield (
            "nano",
            next((n.text for n in model.notices if n.task == task), "the embedded model was loaded without it"),
        )
        return
    result = _asked(model, task, picture)
    answers = len(result.outputs.get(task, ()))
    said = [notice.text for notice in result.notices if "is untrained" not in notice.text]
    yield "nano", "" if answers == len(PHRASES) else f"{answers} answers to {len(PHRASES)} phrases: {' '.join(said)}"
    yield "nano_others", _others(model, task, picture)
    yield "nano_file", _file(model, task, picture)


def _asked(model: Model, task: str, picture: Image) -> Any:
    image = picture if model.table.by_name(task).spec.needs_image else None
    return model.run(task, image, PHRASES)


def _others(model: Model, task: str, picture: Image) -> str:
    """What the other tasks answer with this one loaded and without, compared to the bit."""
    from ...loading import load

    others = [name for name, other in model.table.tasks.items() if name != task and other.spec.needs_image]
    alone = load(MODEL, tasks=others)
    for name in others:
        both = (_asked(one, name, picture).outputs for one in (model, alone))
        if len({str(outputs) for outputs in both}) > 1:
            return f"task {name!r} answers otherwise when this one is loaded; change nothing that is not yours"
    return ""


def _file(model: Model, task: str, picture: Image) -> str:
    """The task's file, written and read, gives the same answers."""
    import torch

    from ...checkpoint import write_task_file
    from ...loading import load
    from ...weights import task_file

    place, token = model.table.names.index(task), model.table.by_name(task).spec.token
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{task}.safetensors"
        write_task_file(path, task_file(model.network, task, token, place, "chiasm", torch.float32))
        again = load(MODEL, tasks=[task], tasks_from=[path])
    answers: Callable[[Model], str] = lambda one: str(_asked(one, task, picture).outputs)  # noqa: E731
    if answers(model) != answers(again):
        return "read back from its own file it answers otherwise; keep all that it needs in parameters and buffers"
    return ""
