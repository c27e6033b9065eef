"""The training loop, on Hugging Face Accelerate: one or several processes, CPU or GPU, float32 or bfloat16.

Every step seeds its random numbers from (seed, step, process) and takes its data by position, so that a run that was
stopped and resumed is the run that never stopped, bit for bit on one CPU. A step whose losses or gradient norms are
not finite changes nothing (`guard`).
"""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor

from audiocodec.build import build_codec, build_discriminators
from audiocodec.codec import CodecOutput
from audiocodec.config.schema import Config
from audiocodec.data.dataset import SegmentDataset
from audiocodec.data.manifest import Utterance
from audiocodec.errors import CheckpointError
from audiocodec.training import crash, state, validation
from audiocodec.training.ema import EMA
from audiocodec.training.feeder import Feeder, fixed_batches
from audiocodec.training.guard import Action, Guard
from audiocodec.training.logbook import Logbook
from audiocodec.training.statistics import CodebookStatistics, collapsed
from audiocodec.training.steps import DiscriminatorBundle, Steps, learning_rate

START_FRAMES = 40_000  # latents that the codebooks are fitted to when quantization is switched on
CALIBRATION_BATCHES = 16
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
        device: str = "auto",
        resume: bool = False,
    ) -> None:
        """Build everything, or restore it.

        Args:
            config: the run.
            folder: of the experiment; `checkpoints/`, `tensorboard/` and `crash/` are made in it.
            dataset: preloaded training segments.
            valid: utterances to validate on.
            device: `cpu`, or `auto` for what Accelerate finds.
            resume: go on from the newest checkpoint, if there is one.

        Raises:
            CheckpointError: the checkpoint does not fit.
        """
        self.config, self.folder, self.dataset = config, folder, dataset
        self.accelerator = Accelerator(
            cpu=device == "cpu",
            mixed_precision="bf16" if config.train.precision == "bf16" else "no",
            gradient_accumulation_steps=config.train.gradient_accumulation,
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)],
        )
        if not self.accelerator.is_main_process:
            log.setLevel(logging.WARNING)
        torch.manual_seed(config.seed)
        codec, bundle = build_codec(config), DiscriminatorBundle(build_discriminators(config))
        self.optimizers = {"codec": self._adamw(codec, config.train.learning_rate)}
        if bundle.discriminators:
            self.optimizers["discriminators"] = self._adamw(bundle, config.train.discriminator_learning_rate)
        self.codec, self.bundle = self._prepare(codec), self._prepare(bundle) if bundle.discriminators else None
        self.raw_codec, self.raw_bundle = codec, bundle
        self.ema = EMA(codec, config.train.ema_decay)
        self.guard = Guard(config.train.bad_steps_before_cut, config.train.bad_steps_before_rollback)
        self.steps = Steps(config, self.accelerator.device)
        self.statistics = CodebookStatistics(
            codec.num_codebooks, config.quantizer.codebook_size, self.accelerator.device
        )
        self.valid = validation.read_utterances(valid, config) if self.accelerator.is_main_process else []
        self.step = 0
        self.stop_requested = False
        self.position = 0
        if resume and (newest := state.latest(self.checkpoints)) is not None:
            self._restore(newest)
            log.info("resumed from %s", newest)

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
            TrainingError: not finite again and again.
        """
        t, started, first = self.config.train, time.monotonic(), self.step
        self.feeder = self._feeder()
        book = Logbook(
            self.folder / "tensorboard", active=self.accelerator.is_main_process, first_step=first, last_step=t.steps
        )
        try:
            if self.step == 0:
                self._save()
            while self.step < t.steps and not self._stop_now(started, max_minutes):
                before = self.step
                values = self._train_step()
                if self.step <= before:
                    continue  # a bad step: nothing new to log, validate or save
                book.step()
                if self.step % t.log_interval == 0:
                    rate = (self.step - first) / (time.monotonic() - started)
                    book.scalars(self._collect(values), self.step, rate, self._seconds_left(rate, started, max_minutes))
                if self.step % t.valid_interval == 0:
                    self._validate(book)
                if self.step % t.checkpoint_interval == 0:
                    self._save()
            self._save()
        finally:
            self.feeder.close()
            book.close()
        return self.step

    def _train_step(self) -> dict[str, Tensor]:
        """One update of all weights; returns losses and gradient norms."""
        c, t = self.config, self.config.train
        torch.manual_seed((c.seed * 1_000_003 + self.step) * 4096 + self.accelerator.process_index)
        if self.step == t.warmup_autoencoder_steps:
            self._start_quantizer()
        for name, base in (("codec", t.learning_rate), ("discriminators", t.discriminator_learning_rate)):
            for group in self.optimizers[name].param_groups if name in self.optimizers else []:
                group["lr"] = learning_rate(c, base, self.step) * self.guard.rate_scale
        adversarial = self.bundle is not None and self.step >= c.discriminator.start_step
        judge = adversarial and self.step % c.discriminator.interval == 0
        values: dict[str, Tensor] = {}
        items: list[tuple[int, int]] = []
        traces = self._traces()
        for micro in range(t.gradient_accumulation):
            wav, batch_items = self.feeder.next()
            items += batch_items
            with self._synchronised(micro == t.gradient_accumulation - 1):
                for name, value in self._micro_step(wav, adversarial, judge).items():
                    values[f"loss/{name}"] = values.get(f"loss/{name}", 0) + value / t.gradient_accumulation
        self.position = self.feeder.position
        self._update(values, items, judge, traces)
        return values

    def _micro_step(self, wav: Tensor, adversarial: bool, judge: bool) -> dict[str, Tensor]:
        """Gradients of one micro-batch."""
        wav = wav.to(self.accelerator.device)
        with self.accelerator.autocast():
            output: CodecOutput = self.codec(wav, quantize=self.step >= self.config.train.warmup_autoencoder_steps)
            values: dict[str, Tensor] = {}
            if judge:
                assert self.bundle is not None
                values |= self.steps.discriminator(self.bundle, wav, output.estimate, self.accelerator.backward)
            self.raw_bundle.requires_grad_(False)
            judges = self.raw_bundle.discriminators if adversarial else None
            values |= self.steps.generator(output, judges, wav, self.accelerator.backward)
            self.raw_bundle.requires_grad_(True)
        self.statistics.add(output)
        return values

    def _traces(self) -> tuple[list[Tensor], dict[str, list[float]]]:
        """What the passes of a step change besides gradients: latent statistics and the balancer's running norms."""
        balancer = copy.deepcopy(self.steps.balancer.state) if self.steps.balancer else {}
        return [buffer.clone() for buffer in self.raw_codec.scale.buffers()], balancer

    def _erase(self, traces: tuple[list[Tensor], dict[str, list[float]]]) -> None:
        """Undo the passes of a bad step: one NaN in a running mean would make every later step bad as well."""
        for buffer, old in zip(self.raw_codec.scale.buffers(), traces[0]):
            buffer.copy_(old)
        if self.steps.balancer:
            self.steps.balancer.state = traces[1]
        self.statistics.reset()

    def _update(
        self,
        values: dict[str, Tensor],
        items: list[tuple[int, int]],
        judge: bool,
        traces: tuple[list[Tensor], dict[str, list[float]]],
    ) -> None:
        """Clip, check and apply the gradients that have been gathered."""
        t = self.config.train
        values["gradient/codec"] = self.accelerator.clip_grad_norm_(self.raw_codec.parameters(), t.clip_norm)
        if judge:
            values["gradient/discriminators"] = self.accelerator.clip_grad_norm_(
                self.raw_bundle.parameters(), t.discriminator_clip_norm
            )
        finite = all(bool(torch.isfinite(value).all()) for value in values.values())
        if self.accelerator.num_processes > 1:
            flag = torch.tensor([0.0 if finite else 1.0], device=self.accelerator.device)
            finite = float(self.accelerator.reduce(flag)) == 0
            for buffer in (self.raw_codec.scale.mean, self.raw_codec.scale.rms):
                buffer.copy_(self.accelerator.reduce(buffer, reduction="mean"))
        if not finite:
            self._erase(traces)
            self._report_crash(values, items)
        action = self.guard.observe(finite)
        if action is Action.STEP:
            for name, optimizer in self.optimizers.items():
                if name == "codec" or judge:
                    optimizer.step()
            self.ema.update(self.raw_codec)
            self.step += 1
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        if action is Action.CUT:
            log.warning("step %d: learning rate cut to %g of its schedule", self.step, self.guard.rate_scale)
        if action is Action.ROLLBACK:
            self._roll_back()

    def _start_quantizer(self) -> None:
        """Fit the codebooks to latents of the autoencoder, the same on every process."""
        self.raw_codec.train()
        latents: list[Tensor] = []
        with torch.no_grad():
            for batch in self._fixed_batches(START_FRAMES):
                scaled = self.raw_codec.scale(self.raw_codec.encoder(batch))
                latents.append(scaled.transpose(1, 2).flatten(0, 1))
        self.raw_codec.quantizer.start(torch.cat(latents))
        self.ema.copy_quantizer(self.raw_codec)
        log.info("step %d: quantization on, started from %d latents", self.step, sum(len(x) for x in latents))

    def _fixed_batches(self, frames: int) -> Iterator[Tensor]:
        """The same batches whenever asked, with at least `frames` frames, or all there is."""
        count = -(-frames * self.config.hop_length // self.config.segment_samples)
        for batch in fixed_batches(self.dataset, count, self.config.train.batch_size):
            yield batch.to(self.accelerator.device)

    def _collect(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Scalars for the log; codebook statistics since the last call, summed over processes."""
        if self.accelerator.num_processes > 1:
            for tensor in self.statistics.tensors():
                tensor.copy_(self.accelerator.reduce(tensor))
        scalars = {name: float(value) for name, value in values.items()}
        scalars |= self.statistics.summary()
        scalars |= {"train/learning_rate": float(self.optimizers["codec"].param_groups[0]["lr"])}
        scalars |= {"train/skipped_steps": float(self.guard.skipped)}
        frames = self.config.train.batch_size * self.config.segment_samples // self.config.hop_length
        for name, value in collapsed(scalars, self.config.quantizer.codebook_size, frames).items():
            log.warning("step %d: COLLAPSE: %s is %.4f", self.step, name, value)
        self.statistics.reset()
        return scalars

    def _validate(self, book: Logbook) -> None:
        if not self.valid:
            return
        validation.calibrate(self.ema.average, self._calibration_batches())
        quantize = self.step > self.config.train.warmup_autoencoder_steps
        values, examples = validation.validate(self.ema.average, self.valid, self.steps.spectral, quantize)
        book.scalars(values, self.step, 0, 0)
        for example in examples:
            if self.step == self.config.train.valid_interval:
                book.audio(f"reference/{example.name}", example.reference, self.config.sample_rate, self.step)
            book.audio(f"estimate/{example.name}", example.estimate, self.config.sample_rate, self.step)

    def _calibration_batches(self) -> list[Tensor]:
        per_batch = self.config.train.batch_size * self.config.segment_samples // self.config.hop_length
        return list(self._fixed_batches(CALIBRATION_BATCHES * per_batch))

    def _save(self) -> None:
        """Write a checkpoint and drop the oldest; other processes wait."""
        folder = self.checkpoints / f"step_{self.step:08d}"
        if self.accelerator.is_main_process and not folder.exists():
            validation.calibrate(self.ema.average, self._calibration_batches())
            values = {
                "step": self.step,
                "position": self.position,
                "ema_updates": self.ema.updates,
                "guard": vars(self.guard),
                "balancer": self.steps.balancer.state if self.steps.balancer else {},
            }
            state.save(
                folder,
                config=self.config,
                average=self.ema.average,
                modules=self._modules(),
                optimizers=self._raw_optimizers(),
                values=values,
            )
            state.prune(self.checkpoints, self.config.train.keep_checkpoints)
        self.accelerator.wait_for_everyone()

    def _restore(self, folder: Path) -> None:
        values = state.load(folder, modules=self._modules(), optimizers=self._raw_optimizers())
        t = self.config.train
        thresholds = {"cut_after": t.bad_steps_before_cut, "rollback_after": t.bad_steps_before_rollback}
        try:
            self.step, self.position, self.ema.updates = values["step"], values["position"], values["ema_updates"]
            self.guard = Guard(**values["guard"] | thresholds)
            if self.steps.balancer:
                self.steps.balancer.state = values["balancer"]
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

    def _report_crash(self, values: dict[str, Tensor], items: list[tuple[int, int]]) -> None:
        """Write what is needed to look into a bad step: its batch, seed and losses."""
        name = f"step_{self.step:08d}_rank{self.accelerator.process_index}_{self.guard.skipped}.json"
        first = self.guard.bad_in_a_row == 0  # of a series of bad steps, in which the weights do not change
        crash.write_bundle(
            self.folder / "crash" / name,
            self.dataset,
            items,
            values,
            self.raw_codec if first else None,
            step=self.step,
            seed=self.config.seed,
            checkpoint=str(state.latest(self.checkpoints)),
        )
        log.warning("step %d: not finite, skipped: %s", self.step, self.folder / "crash" / name)

    def _feeder(self) -> Feeder:
        return Feeder(
            self.dataset,
            self.config.train.batch_size,
            position=self.position,
            rank=self.accelerator.process_index,
            processes=self.accelerator.num_processes,
            workers=self.config.data.workers,
        )

    def _stop_now(self, started: float, max_minutes: float) -> bool:
        stop = self.stop_requested or time.monotonic() - started >= 60 * max_minutes
        if self.accelerator.num_processes > 1:
            flag = torch.tensor([float(stop)], device=self.accelerator.device)
            stop = float(self.accelerator.reduce(flag)) > 0
        return stop

    def _seconds_left(self, rate: float, started: float, max_minutes: float) -> float:
        steps = (self.config.train.steps - self.step) / max(rate, 1e-9)
        return min(steps, 60 * max_minutes - (time.monotonic() - started))

    def _adamw(self, module: torch.nn.Module, rate: float) -> torch.optim.AdamW:
        t = self.config.train
        trained = [p for p in module.parameters() if p.requires_grad]
        return torch.optim.AdamW(trained, rate, betas=t.betas, weight_decay=t.weight_decay)

    def _prepare(self, module: torch.nn.Module) -> Any:
        return self.accelerator.prepare(module)

    @contextlib.contextmanager
    def _synchronised(self, last: bool) -> Iterator[None]:
        """Gradients are exchanged between processes in the last micro-batch only."""
        with contextlib.ExitStack() as stack:
            if not last:
                stack.enter_context(self.accelerator.no_sync(self.codec))
                if self.bundle is not None:
                    stack.enter_context(self.accelerator.no_sync(self.bundle))
            yield

    def _modules(self) -> dict[str, torch.nn.Module]:
        modules: dict[str, torch.nn.Module] = {"codec": self.raw_codec, "ema": self.ema.average}
        return modules | ({"discriminators": self.raw_bundle} if self.raw_bundle.discriminators else {})

    def _raw_optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return dict(self.optimizers)
