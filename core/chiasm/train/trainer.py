"""`train`: a config and a folder in, a trained model out; the same call goes on with a run that was cut.

Refused: a folder in use, another run's folder, a config that does not fit, more than one run's worth of bad samples.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from chiasm_registry.errors import TrainingError, shown
from transformers import TrainingArguments
from transformers import logging as transformers_logging

from ..checkpoint.manifest import task_file_name
from ..files import guarded_write
from .alone import for_one_task
from .config import TrainConfig
from .folders import restore_folder
from .lock import run_lock
from .log import NAME as LOG
from .log import RunLog
from .loop import CHECKPOINTS, Loop, Run
from .optimizer import freeze
from .parts import MODEL, Build, saved_at
from .processes import first_does, world
from .report import NAME as REPORT
from .report import Progress, report_lines, write_report
from .resume import newest_checkpoint, read_state, refuse_another_run, set_aside
from .stop import stop_on_signal

Builder = Callable[[TrainConfig, Callable[[str], None]], Build]  # the second says what is being done, line by line


@dataclass(frozen=True)
class Finished:
    """How a run ended; `interrupted` if somebody asked it to stop before its last step."""

    steps: int
    interrupted: bool
    losses: dict[str, float] = field(default_factory=dict)
    lines: tuple[str, ...] = ()


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    resume: bool = True,
    limit_steps: int | None = None,
    build: Builder | None = None,
    quiet: bool = False,
) -> Finished:
    """Train by `config` in the folder `out`: checkpoints, `model/` (averaged weights), `log.jsonl`, `report.json`.

    With `resume` a run that `out` holds goes on from its newest complete checkpoint; without, it is set aside and a new
    one begins. `limit_steps` ends the run early on the same schedule. TrainingError says why a run stopped.
    """
    build = build or _chiasm_build
    config = for_one_task(config, config.alone) if config.alone else config
    args = _arguments(config, Path(out))
    last = min(config.run.steps, limit_steps or config.run.steps)
    with ExitStack() as held:
        out = Path(out)
        first_does(lambda: _make(out))
        if world()[0] == 0:
            held.enter_context(_told_to_all(run_lock(out)))
        else:
            first_does(lambda: None)
        stop = held.enter_context(stop_on_signal())
        checkpoint = first_does(lambda: _where_from(out, resume, config.alone))
        start = _start(checkpoint, identity := _identity(config), out)
        torch.manual_seed(config.run.seed)
        parts = build(config, _teller(quiet))
        freeze(parts.module, config.optimizer.groups)
        identity["build"] = dict(getattr(parts, "identity", {}))
        _start(checkpoint, identity, out)
        progress = Progress(last, start, quiet=quiet or world()[0] > 0)
        held.callback(progress.close)
        log = RunLog(out, start) if world()[0] == 0 else None
        if log is not None:
            held.callback(log.close)
        run = Run(config, out, log, progress, stop, identity, start, last)
        return _run(parts, run, args, checkpoint)


def _chiasm_build(config: TrainConfig, report: Callable[[str], None]) -> Build:
    from .build import build

    made: Build = build(config, report)
    return made


def _teller(quiet: bool) -> Callable[[str], None]:
    return lambda line: None if quiet or world()[0] > 0 else _tell(line)


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _run(build: Build, run: Run, args: TrainingArguments, checkpoint: Path | None) -> Finished:
    """Take the steps and write the report."""
    begun = time.perf_counter()
    if run.start:
        run.progress.say(f"going on from step {run.start}")
    loop = Loop(build, run, args)
    if run.start < run.last:
        with _worker_faults():
            loop.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
        done = int(loop.state.global_step)
    else:
        done = run.start
        if checkpoint is not None:  # it may have been killed between its last checkpoint and its model
            loop.save_again(checkpoint)
    report = _report(run, saved_at(build, run.out), args, done, time.perf_counter() - begun)
    lines: tuple[str, ...] = ()
    if world()[0] == 0:
        write_report(run.out, report)
        lines = tuple(report_lines(report))
    run.progress.close()
    return Finished(done, done < run.last, run.losses, lines)


def _arguments(config: TrainConfig, out: Path) -> TrainingArguments:
    """The Trainer's arguments: its own saving, logging and sampling are off, they are ours."""
    transformers_logging.set_verbosity_error()
    run, on_gpu = config.run, torch.cuda.is_available()
    bf16 = run.precision == "bf16" or (run.precision == "auto" and on_gpu)
    if on_gpu:
        torch.backends.cudnn.benchmark = True  # views have one size
        torch.set_float32_matmul_precision("high" if bf16 else "highest")
    args = TrainingArguments(
        output_dir=str(out), max_steps=run.steps, per_device_train_batch_size=run.batch_size, seed=run.seed,
        bf16=bf16, use_cpu=not on_gpu, max_grad_norm=1.0, save_strategy="no", logging_strategy="no", report_to="none",
        disable_tqdm=True, logging_nan_inf_filter=False, remove_unused_columns=False, label_names=[], log_level="error",
        ignore_data_skip=True, dataloader_pin_memory=False, ddp_find_unused_parameters=run.find_unused_parameters,
    )
    if args.n_gpu > 1:
        args._n_gpu = 1  # several GPUs are torchrun's; one process would split each batch over all (DataParallel)
    return args


def _make(out: Path) -> None:
    with guarded_write(out, TrainingError):
        out.mkdir(parents=True, exist_ok=True)


def _where_from(out: Path, resume: bool, alone: str | None) -> Path | None:
    """The checkpoint to go on from, after mending what a killed run left."""
    restore_folder(out / MODEL)
    if not resume:
        set_aside(out, (CHECKPOINTS, MODEL, LOG, REPORT, *([task_file_name(alone)] if alone else [])))
    return newest_checkpoint(out / CHECKPOINTS)


def _identity(config: TrainConfig) -> dict[str, Any]:
    """What must be the same to go on, before building; what the builder says of its data comes to it."""
    return {"processes": world()[1], "config": config.fixed()}


def _start(checkpoint: Path | None, identity: dict[str, Any], out: Path) -> int:
    if checkpoint is None:
        return 0
    state = read_state(checkpoint)
    for part, now in identity.items():
        before = state["run"][part]
        whole = part == "config"
        refuse_another_run(before if whole else {part: before}, now if whole else {part: now}, out.name)
    return int(state["step"])


@contextmanager
def _told_to_all(lock: Any) -> Iterator[None]:
    """Take the first process's lock so that the others hear of a refusal."""
    with ExitStack() as held:
        first_does(lambda: held.enter_context(lock))
        yield


@contextmanager
def _worker_faults() -> Iterator[None]:
    """A data worker that the system killed becomes one line."""
    try:
        yield
    except RuntimeError as error:
        if not any(sign in str(error) for sign in ("exited unexpectedly", "is killed by signal")):
            raise
        cure = "most likely for memory; set run.workers lower and run the same command"
        raise TrainingError(f"a data worker was killed, {cure}") from error


def _report(run: Run, saved: Path, args: TrainingArguments, done: int, seconds: float) -> dict[str, Any]:
    images = (done - run.start) * run.config.run.batch_size * world()[1]
    name = torch.cuda.get_device_name(args.device) if args.device.type == "cuda" else "CPU"
    return {
        "steps": done, "planned_steps": run.config.run.steps, "resumed_from": run.start, "seconds": round(seconds, 1),
        "images": images, "images_per_s": round(images / max(seconds, 1e-9), 1), "losses": run.losses,
        "bad_samples": run.log.bad_samples if run.log is not None else 0, "interrupted": done < run.last,
        "device": shown(name), "processes": world()[1], "precision": "bf16" if args.bf16 else "float32",
        "model": str(saved), "config": run.config.model_dump(mode="json"),
    }
