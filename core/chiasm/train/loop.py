"""The steps of a run on transformers' Trainer: no step is taken on a loss or gradient that is not finite.

The Trainer drives (accelerate's mixed precision, DistributedDataParallel, the order of a step); sampling, checkpoints,
the log and the pace are ours, as its own are pickles, prints and epochs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from chiasm_registry.errors import TrainingError, shown
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from ..files import write_json
from . import state as states
from .config import TrainConfig
from .ema import Ema
from .log import RunLog
from .losses import LossSums, Saved, means
from .optimizer import make_optimizer, make_schedule
from .parts import Build, save_model, takes_ids
from .processes import all_of, any_of, first_does, world
from .report import Progress
from .resume import STATE, read_state, write_checkpoint
from .stop import StopRequest
from .stream import BAD, BadNote, Batches, loader, to_device

CHECKPOINTS = "checkpoints"
IDS_SHOWN = 3


@dataclass
class Run:
    """What the loop is told beside the builder's parts; `start` is the step it goes on from."""

    config: TrainConfig
    out: Path
    log: RunLog | None  # None in all processes but the first
    progress: Progress
    stop: StopRequest
    identity: Mapping[str, Any]
    start: int = 0
    last: int = 0  # the step to end at
    losses: dict[str, float] = field(default_factory=dict)


class Loop(Trainer):  # type: ignore[misc]  # transformers is not typed
    """One run; `train(resume_from_checkpoint=...)` takes it to `run.last` or to where somebody asked it to stop."""

    def __init__(self, build: Build, run: Run, args: TrainingArguments) -> None:
        super().__init__(model=build.module, args=args, data_collator=build.collate, callbacks=[Pace()])
        for callback in [one for one in self.callback_handler.callbacks if not isinstance(one, Pace)]:
            self.remove_callback(callback)  # their prints and their own idea of when to save
        self.callback_handler.callbacks[0].loop = self
        self.build, self.run = build, run
        self.ema = Ema(build.module, run.config.run.ema) if run.config.run.ema else None
        self.sums = LossSums()
        self._takes_ids = takes_ids(build.module)
        self._trainable = [p for p in build.module.parameters() if p.requires_grad]
        self.stopping = False  # behind this step, in all processes
        self._ids: list[str] = []
        self._outputs: dict[str, Tensor] = {}
        self._clock, self._clock_step = time.perf_counter(), run.start

    # What the Trainer asks for before the first step.

    def get_train_dataloader(self) -> Iterable[dict[str, Any]]:
        """The batches from the run's first step on; accelerate does not wrap it, so lists pass untouched."""
        config, (rank, count) = self.run.config.run, world()
        batches = Batches(self.run.start, self.run.last, config.batch_size, rank, count)
        return loader(self.build.dataset, self.build.collate, config, batches)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW by the config."""
        self.optimizer = make_optimizer(self.build.module, self.run.config.optimizer)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> Any:
        """The schedule over the config's steps, standing at the run's first."""
        steps = self.run.config.run.steps
        self.lr_scheduler = make_schedule(self.optimizer, self.run.config.optimizer, steps, self.run.start)
        return self.lr_scheduler

    # One step.

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Forward and backward of one batch; a bad sample is named, a batch with a fatal one stops the run."""
        self._name_bad(inputs.pop(BAD, []))
        self._ids = [str(one) for one in inputs.get("ids", ())]
        if not self._takes_ids:
            inputs.pop("ids", None)
        self._outputs = model(**to_device(inputs, self.args.device))
        loss = self._outputs.get("loss")
        if loss is None or not loss.requires_grad:
            raise TrainingError("the step's outputs hold no `loss` with a gradient")
        self.sums.add(self._outputs)
        self.accelerator.backward(loss)
        detached: Tensor = loss.detach()
        return detached

    def _clip_grad_norm(self, model: nn.Module) -> Tensor:
        """Clip, then look before the optimizer does: the one place of a step that waits for the device."""
        limit = self.run.config.optimizer.max_grad_norm or math.inf
        norm = nn.utils.clip_grad_norm_(self._trainable, limit)
        fine = bool(torch.stack((self._outputs["loss"].detach().float(), norm.float())).isfinite().all().item())
        broken, self.stopping = any_of([not fine, self.run.stop.asked], self.args.device)
        if broken:
            self._refuse(norm)
        return norm

    def _get_grad_norm(self, model: nn.Module, grad_norm: Tensor | None = None) -> Tensor | None:
        return grad_norm

    def _refuse(self, norm: Tensor) -> None:
        """Stop for a loss or gradient that is not finite: every sample id to the log, the first few to the person."""
        step = self.state.global_step + 1
        values = {name: float(value.detach()) for name, value in self._outputs.items()} | {"grad_norm": float(norm)}
        found = [(ids, named) for ids, named in all_of((self._ids, values)) if not _finite(named)]
        ids = [one for some, _ in found for one in some]
        broken = {name: str(value) for _, named in found for name, value in named.items() if not math.isfinite(value)}
        if self.run.log is not None:
            self.run.log.write("not finite", step, ids=ids, values=broken)
        what = next((name for name in broken if name.startswith("loss/")), next(iter(broken)))
        some = ", ".join(shown(one, 24) for one in ids[:IDS_SHOWN])
        more = f" and {len(ids) - IDS_SHOWN} more" if len(ids) > IDS_SHOWN else ""
        raise TrainingError(f"step {step}: {shown(what, 40)} is not finite; samples {some}{more}; step not taken")

    def _name_bad(self, notes: list[BadNote]) -> None:
        step, fatal = self.state.global_step + 1, any(note.fatal for note in notes)
        noted, fatal = any_of([bool(notes), fatal], self.args.device)
        for note in [one for some in all_of(notes) for one in some] if noted else ():
            if self.run.log is not None and self.run.log.bad_sample(step, note.sample_id, note.fact):
                self.run.progress.say(f"bad sample {shown(note.sample_id, 40)}: {shown(note.fact, 120)}")
        if fatal:
            last = next((note for note in reversed(notes) if note.fatal), None)
            fact = f"{shown(last.sample_id, 40)}: {shown(last.fact, 90)}" if last else "of another process"
            raise TrainingError(f"step {step}: stopped for a bad sample, {fact}")

    def floating_point_ops(self, inputs: Any) -> int:
        return 0

    # The log and the checkpoints.

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Write one line of mean losses since the last; the Trainer's own closing line is not for people."""
        if "train_loss" in logs:
            return
        step = self.state.global_step
        values = means([one for saved in all_of(self.sums.saved()) for one in saved])
        self.sums.clear()
        now, images = time.perf_counter(), self.run.config.run.batch_size * world()[1]
        pace = (step - self._clock_step) * images / max(1e-9, now - self._clock)
        self._clock, self._clock_step = now, step
        self.run.losses = values
        lr = self.run.config.optimizer.lr * self.lr_scheduler.lr_lambdas[0](step - 1)  # of a group with factor 1
        extra = {"grad_norm": logs["grad_norm"], "lr": lr, "images_per_s": round(pace, 2)}
        if self.run.log is not None:
            finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
            self.run.log.write("losses", step, **finite, **extra, time=round(time.time(), 1))
        self.run.progress.note({**values, **extra})

    def _save_checkpoint(self, model: nn.Module, trial: Any = None) -> None:
        """A complete checkpoint, then the usable model's folder; only the first process writes."""
        since = time.perf_counter()
        everyones = all_of((self.sums.saved(), states.random_states()))
        first_does(lambda: self._write(everyones))
        self.build.module.train()
        self._clock += time.perf_counter() - since  # images per second are those of training

    def _write(self, everyones: list[tuple[Saved, dict[str, Any]]]) -> None:
        step, root = self.state.global_step, self.run.out / CHECKPOINTS

        def fill(folder: Path) -> None:
            states.save_tensors(folder / states.WEIGHTS, self.build.module.state_dict())
            if self.ema is not None:
                states.save_tensors(folder / states.AVERAGES, self.ema.state())
            states.save_tensors(folder / states.OPTIMIZER, states.optimizer_tensors(self.optimizer))
            self.state.save_to_json(str(folder / "trainer_state.json"))
            sums, randoms = [one[0] for one in everyones], [one[1] for one in everyones]
            state = {"step": step, "run": self.run.identity, "losses": sums, "random": randoms}
            write_json(folder / STATE, state, error=TrainingError)

        write_checkpoint(root, step, fill, keep=self.run.config.run.keep)
        save_model(self.build, self.ema, self.run.out)

    def save_again(self, checkpoint: Path) -> None:
        """The usable model's folder, from the checkpoint of a run that has no step left."""
        self._load_from_checkpoint(str(checkpoint))
        first_does(lambda: save_model(self.build, self.ema, self.run.out))

    # Going on from a checkpoint: called by the Trainer with its folder.

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        folder, (rank, _) = Path(resume_from_checkpoint), world()
        states.load_weights(self.build.module, folder / states.WEIGHTS)
        if self.ema is not None:
            self.ema.load(load_file(folder / states.AVERAGES))
        self.sums.restore(read_state(folder)["losses"][rank], self.args.device)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            states.load_optimizer(self.optimizer, Path(checkpoint) / states.OPTIMIZER)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            states.set_random_states(read_state(Path(checkpoint))["random"][world()[0]])


class Pace(TrainerCallback):  # type: ignore[misc]
    """When a step is logged, saved, the last."""

    loop: Loop

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.loop.build.module.train()

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """The averages follow the step; then what is due is asked for."""
        run, step = self.loop.run, state.global_step
        if self.loop.ema is not None:
            self.loop.ema.update(step)
        run.progress.step(step)
        last = step >= run.last
        control.should_log = last or step % run.config.run.log_every == 0
        stopping = self.loop.stopping  # as all processes agreed; a signal since then is one of the next step
        control.should_save = last or stopping or step % run.config.run.save_every == 0
        control.should_training_stop = last or stopping


def _finite(values: Mapping[str, float]) -> bool:
    return all(math.isfinite(value) for value in values.values())
