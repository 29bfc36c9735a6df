"""One task trained alone: its token's rows, its embeddings and its decoder learn; all else stays, to the bit.

The other tasks are there in name: their tokens compete with the new one, and requests in their words teach it to stay
away from what is theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chiasm_registry import Catalog, TaskSpec, TrainingError
from chiasm_registry.errors import shown

from ..checkpoint import Checkpoint
from ..routing.adapters import adapter_tensors, add_adapter, switch
from ..routing.network import Network
from ..weights import fill_row, start_tasks
from .config import TrainConfig

# Half of what is asked in words is asked of the task, the rest is what people ask of a model that has it beside others.
REQUESTS: Mapping[str, float] = {
    "guided": 0.0, "task": 0.6, "find": 0.2, "everything": 0.06, "caption": 0.02, "count": 0.02, "yes_no": 0.04,
    "question": 0.06, "guided_present": 4,
}


def for_one_task(config: TrainConfig, name: str) -> TrainConfig:
    """`config` for the task `name` alone: on nano unless it says otherwise, with requests that suit a single task."""
    others = sorted(config.tasks.keys() - {name})
    if others:
        told = f"{shown(others[0], 40)!r}, but {shown(name, 40)!r} is trained alone"
        raise TrainingError(f"config: key tasks has {told}; leave others out")
    if not isinstance(config.model.get("base", ""), str):
        raise TrainingError("config: key model.base must be one folder or name for a task that is trained alone")
    model = {"base": "nano", "dropout": 0.0, **config.model}
    mixture: dict[str, Any] = {"branches": 8, "conversations": 3, **config.mixture}
    mixture["requests"] = {**REQUESTS, **(mixture.get("requests") or {})}
    tasks = {name: config.tasks.get(name, {})}
    return config.model_copy(update={"alone": name, "model": model, "mixture": mixture, "tasks": tasks})


def neighbours(catalog: Catalog, base: Checkpoint, name: str) -> list[TaskSpec]:
    """The base's other tasks that are installed: what people may ask for beside the new one."""
    return [catalog.tasks[other].spec for other in base.tasks if other != name and other in catalog.tasks]


def start_like_another(network: Network, base: Checkpoint, task: TaskSpec, known: Sequence[TaskSpec]) -> None:
    """A new task's rows begin as those of a trained one that, like it, looks at images or does not.

    The language model, which stays as it is, fills that one's slots with what a phrase means, and says its token behind
    a phrase: what is left to learn is what to read from the slots, and whom a request means.
    """
    alike = [spec.name for spec in known if spec.needs_image == task.needs_image]
    if task.name in base.tasks or not alike:
        return
    row, other = network.rows.row(task.name), network.rows.row(alike[0])
    row.input.data.copy_(other.input.data)
    row.output.data.copy_(other.output.data)
    count = len(row.vectors)
    row.vectors.data.copy_(other.vectors.data[[k % len(other.vectors) for k in range(count)]])


def hold_still(network: Network, base: Checkpoint, name: str) -> None:
    """Give the base's other tasks their rows, and let nothing but the task's own parameters learn."""
    for other in network.rows.names:
        if other == name:
            continue
        start_tasks(network, [other])
        if other in base.tasks:
            fill_row(network.rows.row(other), base.tasks[other])
    network.requires_grad_(False)
    network.rows.row(name).requires_grad_(True)  # its ear for requests, too
    network.decoders[name].requires_grad_(True)


def adapt(network: Network, name: str, rank: int) -> None:
    """Let the task's adapters in the language model learn: fresh ones of `rank`, or those that it came with."""
    if network.adapted:
        switch(network.language, [name])
    elif rank:
        add_adapter(network.language, name, rank)
        network.adapted = True
    network.language.requires_grad_(False)
    for own in adapter_tensors(network.language, name).values():
        own.requires_grad_(True)


def of_whom(catalog: Catalog, name: str) -> str:
    """The distribution that brings a task."""
    homes: Sequence[str] = [p.distribution for p in catalog.plugins if p.status == "ok" and name in p.tasks]
    return homes[0] if homes else "chiasm"
