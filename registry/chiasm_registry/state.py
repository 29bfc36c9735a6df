"""Process-wide state that a plugin could leave changed: read before its code runs, compared and put back behind it.

Of torch, numpy and Pillow only what is already imported is looked at; nothing is imported for it.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pluggy

_UNKNOWN = object()
_SHARED = ("environment", "filters of warnings")
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGCHLD", "SIGALRM", "SIGPIPE")


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
        self._modules = len(sys.modules)

    def put_back(self, home: str = "") -> tuple[str, ...]:
        """Restore what is different now; the names of what was.

        A library that the code of `home` was the first to import has its own way with warnings and with the
        environment, and nothing would tell who it was: these two then stay as they are.
        """
        changed = []
        new = list(sys.modules)[self._modules :]
        imported = any("." not in name and name != home.split(".")[0] for name in new)
        for probe in _probes():
            value = self._held.get(probe.name, probe.fresh)
            if value is _UNKNOWN or (imported and probe.name in _SHARED):
                continue
            if not _is(probe, value):
                with contextlib.suppress(Exception):  # what is gone for good must not keep the rest from coming back
                    probe.write(value)
                changed.append(probe.name)
        return tuple(changed)


def _is(probe: Probe, value: Any) -> bool:
    """Whether the state has this value; what cannot even be read has another."""
    try:
        return bool(probe.read() == value)
    except Exception:
        return False


def _probes() -> Iterator[Probe]:
    yield Probe("working directory", _working_directory, _change_directory)
    yield Probe("random generator of Python", random.getstate, random.setstate)
    yield Probe("sys.excepthook", lambda: sys.excepthook, lambda hook: setattr(sys, "excepthook", hook))
    yield Probe("registration of pluggy", lambda: pluggy.PluginManager.register, _set_register)
    yield Probe(
        "threading.excepthook", lambda: threading.excepthook, lambda hook: setattr(threading, "excepthook", hook)
    )
    yield Probe("recursion limit", sys.getrecursionlimit, sys.setrecursionlimit)
    yield Probe("path of imports", lambda: list(sys.path), lambda paths: sys.path.__setitem__(slice(None), paths))
    yield Probe("environment", lambda: dict(os.environ), _set_environment)
    yield Probe("filters of warnings", lambda: list(warnings.filters), _set_filters)
    yield Probe("umask", _umask, os.umask)
    if threading.current_thread() is threading.main_thread():
        for name in _SIGNALS:
            if number := getattr(signal, name, None):
                yield Probe(f"handler of {name}", partial(signal.getsignal, number), partial(_handle, number))
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


def _handle(number: int, handler: Any) -> None:
    if handler is not None:  # None: it was set outside Python and cannot be put back
        signal.signal(number, handler)


def _umask() -> int:
    mask = os.umask(0o077)  # there is no way of reading it but setting it
    os.umask(mask)
    return mask


def _set_environment(variables: dict[str, str]) -> None:
    for name in set(os.environ) - set(variables):
        del os.environ[name]
    os.environ.update(variables)


def _set_filters(filters: Any) -> None:
    warnings.filters[:] = filters  # type: ignore[index]  # a list, whatever its annotation says
    warnings._filters_mutated()  # type: ignore[attr-defined]  # else what was decided by the old ones stays


def _numpy_state(numpy_random: Any) -> tuple[Any, ...]:
    kind, keys, *rest = numpy_random.get_state()
    return (kind, tuple(keys.tolist()), *rest)


def _set_default_device(torch: Any, device: Any) -> None:
    # Setting a device puts a function mode around every torch call; the CPU is what there is without it.
    torch.set_default_device(None if device.type == "cpu" else device)
