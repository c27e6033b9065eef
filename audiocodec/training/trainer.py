"""The training loop: one or several processes, CPU or GPU, float32 or bfloat16.

A run that was stopped and resumed is the run that never stopped, bit for bit on one CPU (not with `train.minutes`, see
`schedule`). What a step does is in `stepper`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audiocodec.config.schema import Config
from audiocodec.data.dataset import SegmentDataset
from audiocodec.data.manifest import Utterance
from audiocodec.data.pitch import Track
from audiocodec.errors import CheckpointError, TrainingError
from audiocodec.records import parse
from audiocodec.training.checkpoints.initial import begin_with
from audiocodec.training.checkpoints.keeper import Keeper
from audiocodec.training.guard import Guard
from audiocodec.training.monitor import validation
from audiocodec.training.monitor.logbook import Logbook
from audiocodec.training.monitor.pulse import Pulse
from audiocodec.training.schedule import Deadline, due
from audiocodec.training.step import Stepper

log = logging.getLogger("audiocodec.train")


@dataclass(frozen=True)
class _Said:
    """What a state says besides weights; see `Trainer._facts`."""

    step: int
    position: int
    quantizer_started: bool
    ema_updates: int
    guard: Guard
    begins_with: str | None = None
    seconds: float = 0.0
    balancers: tuple[dict[str, tuple[float, float]], ...] = ()


class Trainer(Stepper):
    """One run: built from a configuration, driven by `run`."""

    def __init__(
        self,
        config: Config,
        folder: Path,
        dataset: SegmentDataset,
        valid: Sequence[Utterance] = (),
        *,
        tracks: Sequence[Track] = (),
        device: str = "auto",
        resume: bool = False,
        init_from: str | None = None,
        allow_pipes: bool = False,
    ) -> None:
        """Build everything, or restore it.

        Args:
            config: the run.
            folder: of the experiment; `checkpoints/`, `lean/`, `tensorboard/` and `crash/` are made in it.
            dataset: preloaded training segments.
            valid: utterances to validate on.
            tracks: pitch of the dataset's utterances, for a voiced decoder (`data.pitch`).
            device: `cpu`, or `auto` for what Accelerate finds.
            resume: go on from the newest checkpoint, if there is one.
            init_from: model whose weights a run that is not resumed begins with, where they fit.
            allow_pipes: run commands that stand in place of `valid`'s paths.

        Raises:
            CheckpointError: the checkpoint does not fit.
            ConfigError: `data.on_device`, and the dataset does not keep its audio; a library of `train.valid_scores` lacks.
            TrainingError: the device has no room for it, or `train.compile` and nothing can be compiled.
        """
        super().__init__(config, folder, dataset, tracks, device)
        main = self.accelerator.is_main_process
        validation.need_libraries(config.train.valid_scores)
        self.observer.valid = validation.read_utterances(valid, config, allow_pipes) if main else []
        self.deadline = Deadline()
        self.keeper = Keeper(folder, config, dataset, self.parts, self.deadline)
        self.stop_requested = False  # by a signal, on this process
        self.begins_with: str | None = (
            ""  # name and fingerprint of a model; None: begun by a version that did not note it
        )
        if resume and (newest := self.keeper.newest) is not None:
            self._restore(newest)
            log.info("resumed from %s", newest)
        elif init_from is not None:
            self.begins_with, self.quantizer_started = begin_with(self.parts, config, init_from)

    def run(self, deadline: float = math.inf) -> int:
        """Train until `train.steps` or `train.minutes`, the deadline, or `stop_requested`; ends with a checkpoint.

        Args:
            deadline: on the monotonic clock, by which that checkpoint is to be written.

        Returns:
            The step reached.

        Raises:
            CheckpointError: the disk has no room for a checkpoint, or one cannot be written.
            TrainingError: not finite again and again, or a step failed.
        """
        t, first = self.config.train, self.step
        self.deadline.at = deadline
        self.feeder = self._feeder()
        last = None if t.minutes else t.steps
        main = self.accelerator.is_main_process
        book = Logbook(self.folder / "tensorboard", active=main, first_step=first, last_step=last)
        try:
            self.keeper.need_space()
            if self.step == 0:
                self._save()
            self.schedule.start()
            started, pulse = time.monotonic(), Pulse()
            stop = self._look_at_the_clock()
            while not ((stop or self.schedule.over(self.step)) and self._save()):
                step, place, begun = self.step, self.schedule.place(self.step), time.monotonic()
                values = self._train_step()
                self.deadline.step_seconds = time.monotonic() - begun
                stop = self._look_at_the_clock()
                if self.step > step:  # else a bad step: nothing new to log
                    book.step()
                    self.observer.add_step(values, self.deadline.step_seconds)
                    if self.step % t.log_interval == 0:
                        book.scalars(self._collect(), self.step, self._pace(first, started))
                        pulse.said()
                    elif main and pulse.due():
                        book.scalars(self.observer.last_step(), self.step, self._pace(first, started))
                now = self.schedule.place(self.step)
                if due(t.valid_interval, place, now):
                    self._validate(book)
                if due(t.checkpoint_interval, place, now):
                    self._save()
                self.keeper.save_lean(self._facts())
            if self.observer.has_steps:
                book.scalars(self._collect(), self.step, self._pace(first, started))
            self.keeper.save_lean(self._facts(), last=True)
        finally:
            self.feeder.close()
            book.close()
        return self.step

    def _look_at_the_clock(self) -> bool:
        """Agree with the other processes on the time, and whether to stop."""
        wanted = self.stop_requested or self.deadline.near()
        stop, self.schedule.seconds = self.parts.agree(wanted, self.schedule.clock())
        return stop

    def _pace(self, first: int, started: float) -> str:
        rate = (self.step - first) / (time.monotonic() - started)
        left = min(self.schedule.seconds_left(self.step, rate), self.deadline.left())
        return f"{rate:.2f} steps/s, {left / 60:.0f} min left"

    def _collect(self) -> dict[str, float]:
        scalars = self.observer.collect(self.step)
        rate = float(self.parts.optimizers["codec"].param_groups[0]["lr"])
        return scalars | {"train/learning_rate": rate, "train/skipped_steps": float(self.guard.skipped)}

    def _validate(self, book: Logbook) -> None:
        last, left = self.schedule.over(self.step), self.deadline.left()
        quantize, spectral = self.quantizer_started, self.steps.spectral
        self.observer.validate(book, spectral, self.step, quantize, last=last, left=left)

    def _facts(self) -> dict[str, Any]:
        """What a state says of this process besides weights, for JSON."""
        return {
            "step": self.step,
            "position": self.position,
            "quantizer_started": self.quantizer_started,
            "ema_updates": self.parts.ema.updates,
            "guard": vars(self.guard),
            "begins_with": self.begins_with,
            "seconds": self.schedule.seconds,
        }

    def _save(self) -> bool:
        """Write a checkpoint, or, where it would not be finite, go back as after bad steps; whether it is written.

        Raises:
            CheckpointError: it cannot be written.
            TrainingError: there is none to go back to, or it was not finite again and again.
        """
        balancers = self.parts.gather(self.steps.balancer.state if self.steps.balancer else {})
        if self.keeper.save(self._facts() | {"balancers": balancers}):  # of every process
            return True
        if self.keeper.newest is None:
            raise TrainingError(f"step {self.step}: weights are not finite, and there is no checkpoint to go back to")
        self.guard.roll_back("weights")
        self._roll_back()
        return False

    def _restore(self, folder: Path) -> None:
        values = self.keeper.restore(folder)
        try:
            said = parse(_Said, values)
            if min(said.step, said.position, said.ema_updates, said.seconds) < 0:
                raise ValueError("step, position, ema_updates and seconds cannot be negative")
            if self.steps.balancer and not said.balancers:
                raise ValueError("balancers is missing")
        except ValueError as error:
            raise CheckpointError(f"{folder}: state.json is not that of this version: {error}") from None
        self.step, self.position, self.quantizer_started = said.step, said.position, said.quantizer_started
        self.parts.ema.updates, self.begins_with = said.ema_updates, said.begins_with
        self.schedule.restore(self.step, said.seconds)
        t = self.config.train
        self.guard = replace(said.guard, cut_after=t.bad_steps_before_cut, rollback_after=t.bad_steps_before_rollback)
        if self.steps.balancer:
            self.steps.balancer.state = dict(said.balancers[self.accelerator.process_index % len(said.balancers)])

    def newest_checkpoint(self) -> Path | None:
        """Where the run would go back to."""
        return self.keeper.newest

    def _roll_back(self) -> None:
        """Back to the newest checkpoint's weights, forward with the data, at the guard's lower rate."""
        newest = self.keeper.newest
        guard, position = self.guard, self.position
        if newest is not None:
            self._restore(newest)
        self.guard, self.position = guard, position
        log.warning("rolled back to step %d; learning rate at %g of its schedule", self.step, guard.rate_scale)
