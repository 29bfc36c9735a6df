"""Between a network and the tensors of a checkpoint: names, tying, types. Nothing is read or written here."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

import torch
from chiasm_registry import CheckpointError, Task
from chiasm_registry.errors import shown
from torch import Tensor, nn

from .checkpoint import TaskFile
from .routing.network import Network

_TIED = "internvl.lm_head.weight"
_TIED_TO = "internvl.model.language_model.embed_tokens.weight"


def core_tensors(network: Network, dtype: torch.dtype) -> dict[str, Tensor]:
    """The backbone's tensors; a head that shares the embedding's memory is left out."""
    state = network.backbone_module.state_dict()
    if _TIED in state and state[_TIED].data_ptr() == state[_TIED_TO].data_ptr():
        del state[_TIED]
    return {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in state.items()}


def task_file(network: Network, name: str, token: str, order: int, distribution: str, dtype: torch.dtype) -> TaskFile:
    """All that belongs to one task."""
    row = network.rows.tasks[network.rows.names.index(name)]
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
        decoder={key: _out(tensor, dtype) for key, tensor in decoder.items()},
    )


def fill_core(network: Network, tensors: Mapping[str, Tensor]) -> None:
    """Put a checkpoint's tensors into the backbone; missing, extra or misshapen ones are named and nothing is changed."""
    own = network.backbone_module.state_dict()
    tied = _TIED in own and own[_TIED].data_ptr() == own[_TIED_TO].data_ptr()
    wanted = {name: tensor for name, tensor in own.items() if not (tied and name == _TIED)}
    _check(wanted, tensors, "core.safetensors")
    _copy(wanted, tensors)


def fill_task(network: Network, file: TaskFile) -> None:
    """Put a task's tensors into its rows and its decoder, or change nothing and raise `CheckpointError`."""
    row = network.rows.tasks[network.rows.names.index(file.name)]
    decoder = network.decoders[file.name].state_dict()
    wanted = {"rows.input": row.input, "rows.output": row.output, "embeddings": row.vectors}
    given = {"rows.input": file.rows_input, "rows.output": file.rows_output, "embeddings": file.vectors}
    wanted.update({f"decoder.{name}": tensor for name, tensor in decoder.items()})
    given.update({f"decoder.{name}": tensor for name, tensor in file.decoder.items()})
    _check(wanted, given, f"{file.name}.safetensors")
    _copy(wanted, given)


def start_tasks(network: Network, tasks: Mapping[str, Task], names: list[str]) -> None:
    """Untrained values for the rows of `names`, the same for a name everywhere."""
    backbone = network.backbone_module
    embedding: nn.Module = backbone.internvl.get_input_embeddings()  # type: ignore[operator,union-attr]
    head: nn.Module = backbone.internvl.lm_head  # type: ignore[assignment,union-attr]
    for name in names:
        row = network.rows.tasks[network.rows.names.index(name)]
        seed = int.from_bytes(name.encode()[:7], "little")
        row.start(embedding.weight.detach(), head.weight.detach(), seed)


def _out(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous()


def _check(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], where: str) -> None:
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


@torch.no_grad()
def _copy(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    for name, tensor in wanted.items():
        tensor.copy_(given[name])


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "0"
