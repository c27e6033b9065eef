"""The training loop: one or several processes, CPU or GPU, float32 or bfloat16.

Every step seeds its random numbers from (seed, step, process) and takes its data by position, so that a run that was
stopped and resumed is the run that never stopped, bit for bit on one CPU (not with `train.minutes`: see `schedule`). A step whose losses or gradient norms are
not finite changes nothing (`guard`).
"""

from __future__ import annotations

import copy
import logging
import math
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiocodec.codec import CodecOutput
from audiocodec.config.schema import Config
from audiocodec.data.dataset import Crop, SegmentDataset
from audiocodec.data.manifest import Utterance
from audiocodec.data.pitch import Track
from audiocodec.errors import AudioCodecError, CheckpointError, TrainingError
from audiocodec.nn.discriminator import Pair
from audiocodec.nn.pitch import Pitch, of_hertz
from audiocodec.training import crash, validation
from audiocodec.training.augmentation import Augmentation
from audiocodec.training.codebooks import CodebookUpdates
from audiocodec.training.device_audio import DeviceAudio
from audiocodec.training.feeder import Feeder
from audiocodec.training.guard import Action, Guard
from audiocodec.training.initial import begin_with
from audiocodec.training.keeper import Keeper
from audiocodec.training.latents import start_quantizer
from audiocodec.training.logbook import Logbook
from audiocodec.training.observer import Observer
from audiocodec.training.parts import Parts
from audiocodec.training.pitch_targets import PitchTargets
from audiocodec.training.schedule import Deadline, Schedule, due
from audiocodec.training.steps import Steps

Values = dict[str, Tensor]
log = logging.getLogger("audiocodec.train")


class Trainer:
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
        self.config, self.folder, self.dataset = config, folder, dataset
        self.parts = Parts(config, device)
        self.accelerator = self.parts.accelerator
        if not self.accelerator.is_main_process:
            log.setLevel(logging.WARNING)
        self.audio = DeviceAudio(dataset, self.accelerator.device) if config.data.on_device else None
        self.pitch = self._pitch_targets(tracks)
        self.guard = Guard(config.train.bad_steps_before_cut, config.train.bad_steps_before_rollback)
        self.augmentation = Augmentation(config.data.augment, config.sample_rate)
        self.steps = Steps(config, self.accelerator.device)
        self.codebooks = CodebookUpdates(self.parts.raw_codec.quantizer)
        main = self.accelerator.is_main_process
        validation.need_libraries(config.train.valid_scores)
        clips = validation.read_utterances(valid, config, allow_pipes) if main else []
        self.observer = Observer(config, self.parts, dataset, clips)
        self.schedule = Schedule(config)
        self.deadline = Deadline()
        self.keeper = Keeper(folder, config, dataset, self.parts, self.deadline)
        self.step = 0
        self.position = 0
        self.quantizer_started = False
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
            started = time.monotonic()
            stop = self._look_at_the_clock()
            while not (stop or self.schedule.over(self.step)):
                step, place, begun = self.step, self.schedule.place(self.step), time.monotonic()
                values = self._train_step()
                self.deadline.step_seconds = time.monotonic() - begun
                stop = self._look_at_the_clock()
                if self.step > step:  # else a bad step: nothing new to log
                    book.step()
                    self.observer.add_step(values, self.deadline.step_seconds)
                    if self.step % t.log_interval == 0:
                        book.scalars(self._collect(), self.step, self._pace(first, started))
                now = self.schedule.place(self.step)
                if due(t.valid_interval, place, now):
                    self._validate(book)
                if due(t.checkpoint_interval, place, now):
                    self._save()
                self.keeper.save_lean(self._facts())
            self.keeper.save_lean(self._facts(), last=True)
            self._save()
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

    def _train_step(self) -> Values:
        """One update of all weights; returns losses and gradient norms.

        Raises:
            TrainingError: whatever failed in it (out of memory, say); a crash bundle has been written.
        """
        self._items: list[tuple[int, int]] = []
        try:
            return self._take_step()
        except AudioCodecError as error:
            log.error("step %d: %s", self.step, error)
            raise
        except Exception as error:
            path = self._write_bundle("error", {}, self.parts.modules, error=traceback.format_exc())
            message = f"step {self.step}: {type(error).__name__}: {error}"
            log.error("%s; what it was taken with: %s", message, path)
            raise TrainingError(f"{message}; see {path}") from error

    def _take_step(self) -> Values:
        c, t = self.config, self.config.train
        torch.manual_seed((c.seed * 1_000_003 + self.step) * 4096 + self.accelerator.process_index)
        place = self.schedule.place(self.step)
        if self.schedule.quantizes(place) and not self.quantizer_started:
            frames = start_quantizer(self.parts.raw_codec, self.dataset, c)
            self.parts.share_quantizer()
            self.parts.ema.copy_quantizer(self.parts.raw_codec)
            self.quantizer_started = True
            log.info("step %d: quantization on, started from %d latents", self.step, frames)
        rates = self.schedule.rates(place)
        self.parts.set_learning_rates({name: rate * self.guard.rate_scale for name, rate in rates.items()})
        started = self.parts.discriminators is not None and self.schedule.judges(place)
        adversarial = started and self.schedule.hears(place)
        judge = started and self.step % c.discriminator.interval == 0
        values: Values = {}
        traces = self._traces()
        for micro in range(t.gradient_accumulation):
            wav, items = self.feeder.next()
            self._items += items
            with self.parts.synchronised(micro == t.gradient_accumulation - 1):
                crops = [self.dataset.crop(*item) for item in items] if self.pitch else []
                for name, value in self._micro_step(wav, adversarial, judge, crops).items():
                    tag = name if "/" in name else f"loss/{name}"
                    values[tag] = values.get(tag, 0) + value / t.gradient_accumulation
        self.position = self.feeder.position
        self._update(values, judge, traces)
        return values

    def _micro_step(self, wav: Tensor, adversarial: bool, judge: bool, crops: Sequence[Crop] = ()) -> Values:
        """Gradients of one micro-batch, cut at `crops`."""
        wav = self.augmentation(wav.to(self.accelerator.device, non_blocking=True))
        pitch: Pitch | None = of_hertz(self.pitch.of(crops, wav)) if self.pitch and crops else None
        raw = self.parts.raw_discriminators
        with self.accelerator.autocast():
            output: CodecOutput = self.parts.codec(wav, quantize=self.quantizer_started, pitch=pitch)
            values: Values = {}
            judged: list[Pair] = []
            if judge or adversarial:
                raw.requires_grad_(judge)
                judges: nn.Module = self.parts.discriminators if judge and self.parts.discriminators else raw
                judged = judges(wav, output.estimate if adversarial else output.estimate.detach())
                raw.requires_grad_(True)
            if judge:
                values |= self.steps.discriminator(raw, judged, self.accelerator.backward)
            heard = judged if adversarial else ()
            values |= self.steps.generator(output, heard, wav, self.accelerator.backward, pitch)
        self.observer.add_output(output)
        self.codebooks.add(output)
        return values

    def _traces(self) -> tuple[list[Tensor], dict[str, list[float]]]:
        """What the passes of a step change besides gradients: latent statistics and the balancer's running norms."""
        balancer = copy.deepcopy(self.steps.balancer.state) if self.steps.balancer else {}
        return [buffer.clone() for buffer in self.parts.raw_codec.scale.buffers()], balancer

    def _erase(self, traces: tuple[list[Tensor], dict[str, list[float]]]) -> None:
        """Undo the passes of a bad step: one NaN in a running mean would make every later step bad as well."""
        for buffer, old in zip(self.parts.raw_codec.scale.buffers(), traces[0]):
            buffer.copy_(old)
        if self.steps.balancer:
            self.steps.balancer.state = traces[1]
        self.observer.drop_outputs()
        self.codebooks.reset()

    def _update(
        self,
        values: Values,
        judge: bool,
        traces: tuple[list[Tensor], dict[str, list[float]]],
    ) -> None:
        """Clip, check and apply the gradients that have been gathered."""
        values |= self.parts.clip(judge)
        self.feeder.prepare()
        bad = not self.parts.finite(values.values())
        if self.accelerator.num_processes > 1:
            for buffer in (self.parts.raw_codec.scale.mean, self.parts.raw_codec.scale.rms):
                buffer.copy_(self.accelerator.reduce(buffer, reduction="mean"))
        if bad:
            self._erase(traces)
            first = self.guard.bad_in_a_row == 0  # of a series of bad steps, in which the weights do not change
            path = self._write_bundle(str(self.guard.skipped), values, self.parts.modules if first else {})
            log.warning("step %d: not finite, skipped: %s", self.step, path)
        action = self.guard.observe(not bad)
        if action is Action.STEP:
            self.codebooks.apply(self.parts.concatenated, self.config.seed * 1_000_003 + self.step)
            self.parts.update(judge)
            self.step += 1
        self.parts.zero_grad()
        if action is Action.CUT:
            log.warning("step %d: learning rate cut to %g of its schedule", self.step, self.guard.rate_scale)
        if action is Action.ROLLBACK:
            self._roll_back()

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

    def _save(self) -> None:
        balancers = self.parts.gather(self.steps.balancer.state if self.steps.balancer else {})
        self.keeper.save(self._facts() | {"balancers": balancers})  # of every process

    def _restore(self, folder: Path) -> None:
        values = self.keeper.restore(folder)
        t = self.config.train
        thresholds = {"cut_after": t.bad_steps_before_cut, "rollback_after": t.bad_steps_before_rollback}
        try:
            self.step, self.position = values["step"], values["position"]
            self.quantizer_started = values["quantizer_started"]
            self.parts.ema.updates = values["ema_updates"]
            self.begins_with = values.get("begins_with")
            self.schedule.restore(self.step, float(values.get("seconds", 0)))
            self.guard = Guard(**values["guard"] | thresholds)
            if self.steps.balancer:
                balancers = values["balancers"]
                self.steps.balancer.state = balancers[self.accelerator.process_index % len(balancers)]
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{folder}: state.json is not that of this version: {error!r}") from error

    def _roll_back(self) -> None:
        """Back to the newest checkpoint's weights, forward with the data, at the guard's lower rate."""
        newest = self.keeper.newest
        guard, position = self.guard, self.position
        if newest is not None:
            self._restore(newest)
        self.guard, self.position = guard, position
        log.warning("rolled back to step %d; learning rate at %g of its schedule", self.step, guard.rate_scale)

    def _write_bundle(
        self, name: str, values: Mapping[str, Tensor], modules: Mapping[str, nn.Module], **facts: str
    ) -> Path:
        """Write what is needed to look into this step: its segments, seed and losses, and weights; returns where."""
        path = self.folder / "crash" / f"step_{self.step:08d}_rank{self.accelerator.process_index}_{name}.json"
        facts |= {"checkpoint": str(self.keeper.newest)}
        seed = self.config.seed
        crash.write_bundle(path, self.dataset, self._items, values, modules, step=self.step, seed=seed, **facts)
        return path

    def _pitch_targets(self, tracks: Sequence[Track]) -> PitchTargets | None:
        if self.config.model.decoder.kind != "voiced":
            return None
        return PitchTargets(tracks, self.config.sample_rate, self.config.hop_length, self.accelerator.device)

    def _feeder(self) -> Feeder:
        return Feeder(
            self.dataset,
            self.config.train.batch_size,
            position=self.position,
            rank=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
            workers=self.config.data.workers,
            audio=self.audio,
            pin=self.accelerator.device.type == "cuda",
        )
