"""Process-wide state that a plugin could leave changed: read before its code runs, compared and put back behind it.

Of torch, numpy and Pillow only what is already imported is looked at; nothing is imported for it.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pluggy

_UNKNOWN = object()


@dataclass(frozen=True)
class Probe:
    """One piece of state, comparable by `==`."""

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    fresh: Any = _UNKNOWN  # its value behind the library's own import


class Snapshot:
    """The state at the moment of its making."""

    def __init__(self) -> None:
        self._held = {probe.name: probe.read() for probe in _probes()}

    def put_back(self) -> tuple[str, ...]:
        """Restore what is different now; the names of what was."""
        changed = []
        for probe in _probes():
            value = self._held.get(probe.name, probe.fresh)
            if value is not _UNKNOWN and probe.read() != value:
                probe.write(value)
                changed.append(probe.name)
        return tuple(changed)


def _probes() -> Iterator[Probe]:
    yield Probe("working directory", _working_directory, _change_directory)
    yield Probe("random generator of Python", random.getstate, random.setstate)
    yield Probe("sys.excepthook", lambda: sys.excepthook, lambda hook: setattr(sys, "excepthook", hook))
    yield Probe("registration of pluggy", lambda: pluggy.PluginManager.register, _set_register)
    if threading.current_thread() is threading.main_thread():
        yield Probe("handler of SIGINT", lambda: signal.getsignal(signal.SIGINT), _handle_interrupts)
    if numpy := sys.modules.get("numpy"):
        yield Probe("numpy's error settings", numpy.geterr, lambda settings: numpy.seterr(**settings))
    if numpy_random := sys.modules.get("numpy.random"):
        yield Probe("random generator of numpy", lambda: _numpy_state(numpy_random), numpy_random.set_state)
    if pillow := sys.modules.get("PIL.Image"):
        name = "MAX_IMAGE_PIXELS"
        yield Probe(f"PIL.Image.{name}", lambda: getattr(pillow, name), lambda value: setattr(pillow, name, value))
    if torch := sys.modules.get("torch"):
        yield from _torch_probes(torch)


def _torch_probes(torch: Any) -> Iterator[Probe]:
    yield Probe("default dtype", torch.get_default_dtype, torch.set_default_dtype, torch.float32)
    cpu = torch.device("cpu")
    yield Probe("default device", torch.get_default_device, lambda device: _set_default_device(torch, device), cpu)
    yield Probe("grad mode", torch.is_grad_enabled, torch.set_grad_enabled, True)
    yield Probe("number of threads", torch.get_num_threads, torch.set_num_threads)
    yield Probe("deterministic mode", torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms)
    yield Probe(
        "random generator of torch",
        lambda: torch.get_rng_state().numpy().tobytes(),
        lambda state: torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8)),
    )
    if torch.cuda.is_initialized():
        yield Probe(
            "random generator of CUDA",
            lambda: [state.numpy().tobytes() for state in torch.cuda.get_rng_state_all()],
            lambda states: torch.cuda.set_rng_state_all(
                [torch.frombuffer(bytearray(state), dtype=torch.uint8) for state in states]
            ),
        )


def _working_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed under us, and cannot be put back
        return None


def _change_directory(path: str | None) -> None:
    if path is not None:
        os.chdir(path)


def _set_register(register: Any) -> None:
    pluggy.PluginManager.register = register  # type: ignore[method-assign]


def _handle_interrupts(handler: Any) -> None:
    if handler is not None:  # None: it was set outside Python and cannot be put back
        signal.signal(signal.SIGINT, handler)


def _numpy_state(numpy_random: Any) -> tuple[Any, ...]:
    kind, keys, *rest = numpy_random.get_state()
    return (kind, tuple(keys.tolist()), *rest)


def _set_default_device(torch: Any, device: Any) -> None:
    # Setting a device puts a function mode around every torch call; the CPU is what there is without it.
    torch.set_default_device(None if device.type == "cpu" else device)
