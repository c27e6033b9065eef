"""The training loop: one or several processes, CPU or GPU, float32 or bfloat16.

Every step seeds its random numbers from (seed, step, process) and takes its data by position, so that a run that was
stopped and resumed is the run that never stopped, bit for bit on one CPU. A step whose losses or gradient norms are
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

from audiocodec import checkpoint
from audiocodec.codec import CodecOutput
from audiocodec.config.schema import Config
from audiocodec.data.dataset import Crop, SegmentDataset
from audiocodec.data.manifest import Utterance
from audiocodec.data.pitch import Track
from audiocodec.errors import AudioCodecError, CheckpointError, TrainingError
from audiocodec.nn.pitch import Pitch, of_hertz
from audiocodec.training import crash, state, validation
from audiocodec.training.alarm import CollapseAlarm
from audiocodec.training.augmentation import Augmentation
from audiocodec.training.codebooks import CodebookUpdates
from audiocodec.training.device_audio import DeviceAudio
from audiocodec.training.feeder import Feeder
from audiocodec.training.flops import Meter
from audiocodec.training.guard import Action, Guard
from audiocodec.training.initial import take_codec, take_discriminators
from audiocodec.training.latents import calibrate, start_quantizer
from audiocodec.training.logbook import Logbook
from audiocodec.training.parts import Parts
from audiocodec.training.pitch_targets import PitchTargets
from audiocodec.training.statistics import CodebookStatistics
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
            folder: of the experiment; `checkpoints/`, `tensorboard/` and `crash/` are made in it.
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
        self.statistics = CodebookStatistics(
            config.quantizer.num_codebooks, config.quantizer.codebook_size, self.accelerator.device
        )
        self.alarm = CollapseAlarm(config)
        self.meter = Meter(config, self.accelerator.device)
        self.codebooks = CodebookUpdates(self.parts.raw_codec.quantizer)
        main = self.accelerator.is_main_process
        validation.need_libraries(config.train.valid_scores)
        self.valid = validation.read_utterances(valid, config, allow_pipes) if main else []
        self.step = 0
        self.position = 0
        self.quantizer_started = False
        self.stop_requested = False
        self.begins_with: str | None = (
            ""  # name and fingerprint of a model; None: begun by a version that did not note it
        )
        if resume and (newest := state.latest(self.checkpoints)) is not None:
            self._restore(newest)
            log.info("resumed from %s", newest)
        elif init_from is not None:
            self._begin_with(init_from)

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.folder / "checkpoints"

    def run(self, max_minutes: float = math.inf) -> int:
        """Train until `train.steps`, the time is up, or `stop_requested` is set; ends with a checkpoint.

        Args:
            max_minutes: wall time after which to save and return.

        Returns:
            The step reached.

        Raises:
            TrainingError: not finite again and again, or a step failed.
        """
        t, started, first = self.config.train, time.monotonic(), self.step
        self.feeder = self._feeder()
        book = Logbook(
            self.folder / "tensorboard", active=self.accelerator.is_main_process, first_step=first, last_step=t.steps
        )
        recent: list[Values] = []  # of the steps since the last line of the log
        try:
            if self.step == 0:
                self._save()
            while self.step < t.steps and not self._stop_now(started, max_minutes):
                before, begun = self.step, time.monotonic()
                values = self._train_step()
                if self.step <= before:
                    continue  # a bad step: nothing new to log, validate or save
                book.step()
                recent.append(values)
                self.meter.add(values, time.monotonic() - begun)
                if self.step % t.log_interval == 0:
                    rate = (self.step - first) / (time.monotonic() - started)
                    left = min((t.steps - self.step) / rate, 60 * max_minutes - (time.monotonic() - started))
                    pace = f"{rate:.2f} steps/s, {left / 60:.0f} min left"
                    speed = self.meter.read() if self.accelerator.is_main_process else {}
                    book.scalars(self._collect(recent) | speed, self.step, pace)
                    recent = []
                if self.step % t.valid_interval == 0:
                    self._validate(book)
                if self.step % t.checkpoint_interval == 0:
                    self._save()
            self._save()
        finally:
            self.feeder.close()
            book.close()
        return self.step

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
        if self.step >= t.warmup_autoencoder_steps and not self.quantizer_started:
            frames = start_quantizer(self.parts.raw_codec, self.dataset, c)
            self.parts.share_quantizer()
            self.parts.ema.copy_quantizer(self.parts.raw_codec)
            self.quantizer_started = True
            log.info("step %d: quantization on, started from %d latents", self.step, frames)
        self.parts.set_learning_rates(self.step, self.guard.rate_scale)
        adversarial = self.parts.discriminators is not None and self.step >= c.discriminator.start_step
        judge = adversarial and self.step % c.discriminator.interval == 0
        values: Values = {}
        traces = self._traces()
        for micro in range(t.gradient_accumulation):
            wav, items = self.feeder.next()
            self._items += items
            with self.parts.synchronised(micro == t.gradient_accumulation - 1):
                crops = [self.dataset.crop(*item) for item in items] if self.pitch else []
                for name, value in self._micro_step(wav, adversarial, judge, crops).items():
                    values[f"loss/{name}"] = values.get(f"loss/{name}", 0) + value / t.gradient_accumulation
        self.position = self.feeder.position
        self._update(values, judge, traces)
        return values

    def _micro_step(self, wav: Tensor, adversarial: bool, judge: bool, crops: Sequence[Crop] = ()) -> Values:
        """Gradients of one micro-batch, cut at `crops`."""
        wav = self.augmentation(wav.to(self.accelerator.device))
        pitch: Pitch | None = of_hertz(self.pitch.of(crops, wav)) if self.pitch and crops else None
        raw = self.parts.raw_discriminators
        with self.accelerator.autocast():
            output: CodecOutput = self.parts.codec(wav, quantize=self.quantizer_started, pitch=pitch)
            values: Values = {}
            if judge:
                assert self.parts.discriminators is not None
                backward = self.accelerator.backward
                values |= self.steps.discriminator(self.parts.discriminators, wav, output.estimate, backward)
            raw.requires_grad_(False)
            judges = raw.discriminators if adversarial else None
            values |= self.steps.generator(output, judges, wav, self.accelerator.backward, pitch)
            raw.requires_grad_(True)
        self.statistics.add(output)
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
        self.statistics.reset()
        self.codebooks.reset()

    def _update(
        self,
        values: Values,
        judge: bool,
        traces: tuple[list[Tensor], dict[str, list[float]]],
    ) -> None:
        """Clip, check and apply the gradients that have been gathered."""
        values |= self.parts.clip(judge)
        bad = self.parts.any_process(not all(bool(torch.isfinite(value).all()) for value in values.values()))
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

    def _collect(self, recent: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
        """Scalars since the last call: means over steps, codebook statistics summed over processes."""
        if self.accelerator.num_processes > 1:
            for tensor in self.statistics.tensors():
                tensor.copy_(self.accelerator.reduce(tensor))
        names = dict.fromkeys(name for values in recent for name in values)
        means = {name: torch.stack([values[name] for values in recent if name in values]).mean() for name in names}
        scalars = {name: float(value) for name, value in means.items()}
        scalars |= self.statistics.summary()
        scalars |= {"train/learning_rate": float(self.parts.optimizers["codec"].param_groups[0]["lr"])}
        scalars |= {"train/skipped_steps": float(self.guard.skipped)}
        for line in self.alarm.observe(scalars, len(recent)):
            log.warning("step %d: %s", self.step, line)
        self.statistics.reset()
        return scalars

    def _validate(self, book: Logbook) -> None:
        if not self.valid:
            return
        average = self.parts.ema.average
        calibrate(average, self.dataset, self.config)
        values, examples = validation.validate(
            average, self.valid, self.steps.spectral, self.quantizer_started, self.config.train.valid_scores
        )
        book.scalars(values, self.step, "validation")
        for example in examples:
            if self.step == self.config.train.valid_interval:
                book.audio(f"reference/{example.name}", example.reference, self.config.sample_rate, self.step)
            book.audio(f"estimate/{example.name}", example.estimate, self.config.sample_rate, self.step)

    def _save(self) -> None:
        """Write a checkpoint and drop the oldest; other processes wait."""
        folder = self.checkpoints / f"step_{self.step:08d}"
        balancers = self.parts.gather(self.steps.balancer.state if self.steps.balancer else {})
        if self.accelerator.is_main_process and not folder.exists():
            calibrate(self.parts.ema.average, self.dataset, self.config)
            values: dict[str, Any] = {
                "step": self.step,
                "position": self.position,
                "quantizer_started": self.quantizer_started,
                "ema_updates": self.parts.ema.updates,
                "guard": vars(self.guard),
                "balancers": balancers,  # of every process
                "begins_with": self.begins_with,
            }
            state.save(folder, self.config, self.parts.ema.average, self.parts.modules, self.parts.optimizers, values)
            state.prune(self.checkpoints, self.config.train.keep_checkpoints)
        self.accelerator.wait_for_everyone()

    def _begin_with(self, source: str) -> None:
        """Take over weights, and say which."""
        path = Path(self.parts.gather(str(checkpoint.resolve(source)))[0])  # an experiment that runs may move on
        taken, self.quantizer_started = take_codec(self.parts.raw_codec, self.config, path)
        self.parts.ema.average.load_state_dict(self.parts.raw_codec.state_dict())
        described = checkpoint.describe(path)
        self.begins_with = f"{checkpoint.config_of(described).name}, {described['fingerprint']}"
        log.info("begins with the weights of %s", path)
        reports = {"codec": taken.lines()}
        if self.parts.discriminators is not None:
            judges = take_discriminators(self.parts.raw_discriminators, path)
            reports["discriminators"] = judges.lines() if judges else ["fresh: none come with the model"]
        for name, lines in reports.items():
            for line in lines:
                log.info("%s: %s", name, line)
        log.info("quantizer: %s", "goes on as it is" if self.quantizer_started else "is started anew")

    def _restore(self, folder: Path) -> None:
        values = state.load(folder, self.config, self.parts.modules, self.parts.optimizers)
        t = self.config.train
        thresholds = {"cut_after": t.bad_steps_before_cut, "rollback_after": t.bad_steps_before_rollback}
        try:
            self.step, self.position = values["step"], values["position"]
            self.quantizer_started = values["quantizer_started"]
            self.parts.ema.updates = values["ema_updates"]
            self.begins_with = values.get("begins_with")
            self.guard = Guard(**values["guard"] | thresholds)
            if self.steps.balancer:
                balancers = values["balancers"]
                self.steps.balancer.state = balancers[self.accelerator.process_index % len(balancers)]
        except (KeyError, TypeError) as error:
            raise CheckpointError(f"{folder}: state.json is not that of this version: {error!r}") from error

    def _roll_back(self) -> None:
        """Back to the newest checkpoint's weights, forward with the data, at the guard's lower rate."""
        newest = state.latest(self.checkpoints)
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
        facts |= {"checkpoint": str(state.latest(self.checkpoints))}
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
        )

    def _stop_now(self, started: float, max_minutes: float) -> bool:
        return self.parts.any_process(self.stop_requested or time.monotonic() - started >= 60 * max_minutes)
