"""Between a network and the tensors of a checkpoint: names, tying, types. Nothing is read or written here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

import torch
from chiasm_registry import CheckpointError
from chiasm_registry.errors import shown
from torch import Tensor, nn

from .checkpoint import TaskFile
from .checkpoint.later import Later
from .routing.adapters import adapter_tensors, fill_adapter
from .routing.network import Network
from .routing.rows import Middle, TaskRow

LARGEST = 1e4  # in a task's rows and embeddings, whose numbers are of the order of one


def core_tensors(network: Network, dtype: torch.dtype) -> dict[str, Tensor]:
    """The backbone's tensors, each once: a head that is the embedding itself is left out."""
    return {name: _out(tensor, dtype) for name, tensor in _own(network.backbone_module).items()}


def task_file(network: Network, name: str, token: str, order: int, distribution: str, dtype: torch.dtype) -> TaskFile:
    """All that belongs to one task."""
    row = network.rows.row(name)
    decoder = network.decoders[name].state_dict()
    return TaskFile(
        name=name,
        token=token,
        embeddings=len(row.vectors),
        distribution=distribution,
        version=_version(distribution),
        order=order,
        rows_input=_out(row.input, dtype),
        rows_output=_out(row.output, dtype),
        vectors=_out(row.vectors, dtype),
        asking=_out(row.asking, dtype) if bool(row.asking.any()) else None,
        lora={k: _out(t, dtype) for k, t in adapter_tensors(network.language, name).items()} if network.adapted else {},
        decoder={key: _out(tensor, dtype) for key, tensor in decoder.items()},
    )


def check_core(backbone: nn.Module, tensors: Mapping[str, Tensor | Later]) -> None:
    """Refuse a checkpoint's tensors that do not fit; `backbone` may stand on the meta device, without memory."""
    _check(_own(backbone), tensors, "core.safetensors")


def fill_core(network: Network, tensors: Mapping[str, Tensor | Later]) -> None:
    """Put a checkpoint's tensors into the backbone; what is missing, extra or misshapen is named, nothing changed."""
    check_core(network.backbone_module, tensors)
    _copy(_own(network.backbone_module), tensors)


def fill_task(network: Network, file: TaskFile) -> None:
    """Put a task's tensors into its rows and its decoder, or change nothing and raise `CheckpointError`."""
    row = network.rows.row(file.name)
    grow = getattr(network.decoders[file.name], "grow", None)
    if grow is not None:  # the file may hold a larger variant
        grow(file.decoder)
    decoder = network.decoders[file.name].state_dict()
    wanted: dict[str, Tensor] = {"rows.input": row.input, "rows.output": row.output, "embeddings": row.vectors}
    given = {"rows.input": file.rows_input, "rows.output": file.rows_output, "embeddings": file.vectors}
    wanted["rows.asking"] = row.asking
    given["rows.asking"] = torch.zeros_like(row.asking) if file.asking is None else file.asking
    wanted.update({f"decoder.{name}": tensor for name, tensor in decoder.items()})
    given.update({f"decoder.{name}": tensor for name, tensor in file.decoder.items()})
    _check(wanted, given, f"{file.name}.safetensors")
    _check_sizes(file, {name: tensor for name, tensor in given.items() if not name.startswith("decoder.")})
    if file.lora:
        fill_adapter(network.language, file.name, file.lora)
        network.adapted = True
    _copy(wanted, given)


@torch.no_grad()
def fill_row(row: TaskRow, file: TaskFile) -> None:
    """The rows and embeddings of a task whose decoder is not here."""
    file.check(embeddings=len(row.vectors), width=row.vectors.shape[1])
    _check_sizes(file, {"rows.input": file.rows_input, "rows.output": file.rows_output, "embeddings": file.vectors})
    for own, stored in ((row.input, file.rows_input), (row.output, file.rows_output), (row.vectors, file.vectors)):
        own.copy_(stored)
    if file.asking is not None:
        row.asking.copy_(file.asking)


def start_tasks(network: Network, names: Sequence[str]) -> None:
    """Untrained values for the rows of `names`, the same for a name everywhere."""
    if names:
        middle = Middle.of(*network.backbone.matrices())
        for name in names:
            digest = hashlib.sha256(name.encode()).digest()
            network.rows.row(name).start(middle, int.from_bytes(digest[:7], "little"))


def _check_sizes(file: TaskFile, tensors: Mapping[str, Tensor]) -> None:
    """What is fed to the language model reaches all that it says afterwards."""
    for name, tensor in tensors.items():
        if float(tensor.abs().max()) > LARGEST:
            raise CheckpointError(f"{file.name}.safetensors: {name} holds a number above {LARGEST:g}; train it anew")


def _own(module: nn.Module) -> dict[str, Tensor]:
    """The module's tensors by name; of several names for one parameter the first."""
    names = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    twice = names - {name for name, _ in module.named_parameters()}
    return {name: tensor for name, tensor in module.state_dict().items() if name not in twice}


def _out(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous()


def _check(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor | Later], where: str) -> None:
    if missing := sorted(wanted.keys() - given.keys()):
        raise CheckpointError(
            f"{where} lacks the tensor {shown(missing[0])} ({len(missing)} missing); take the matching version"
        )
    if extra := sorted(given.keys() - wanted.keys()):
        raise CheckpointError(
            f"{where} holds the unknown tensor {shown(extra[0])} ({len(extra)} extra); take the matching version"
        )
    for name, tensor in wanted.items():
        if tensor.shape != given[name].shape:
            raise CheckpointError(
                f"{where}: {shown(name)} is {tuple(given[name].shape)}, the model wants {tuple(tensor.shape)}"
            )
        floats = tensor.is_floating_point() and given[name].is_floating_point()
        if not floats and tensor.dtype != given[name].dtype:  # floats are rounded to each other, nothing else is
            raise CheckpointError(f"{where}: {shown(name)} is {given[name].dtype}, the model wants {tensor.dtype}")


@torch.no_grad()
def _copy(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor | Later]) -> None:
    for name, tensor in wanted.items():
        tensor.copy_(given[name].detach())


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "0"
