"""One step of a run after the other: all losses, gradients and updates, and what becomes of a step that goes wrong.

Every step seeds its random numbers from (seed, step, process) and takes its data by position. A step whose losses or
gradient norms are not finite changes nothing (`guard`).
"""

from __future__ import annotations

import logging
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from audiocodec.codec.torch import CodecOutput
from audiocodec.config.schema import Config
from audiocodec.data.dataset import Crop, SegmentDataset
from audiocodec.data.pitch import Track
from audiocodec.errors import AudioCodecError, TrainingError
from audiocodec.nn.discriminator import Pair
from audiocodec.nn.pitch import Pitch, of_hertz
from audiocodec.training.batches.augmentation import Augmentation
from audiocodec.training.batches.device_audio import DeviceAudio
from audiocodec.training.batches.feeder import Feeder
from audiocodec.training.batches.pitch_targets import PitchTargets
from audiocodec.training.codebooks import CodebookUpdates
from audiocodec.training.guard import Action, Guard
from audiocodec.training.latents import initialize_quantizer
from audiocodec.training.losses import Steps
from audiocodec.training.monitor import crash
from audiocodec.training.monitor.observer import Observer
from audiocodec.training.schedule import Schedule
from audiocodec.training.setup import Parts

Values = dict[str, Tensor]
log = logging.getLogger("audiocodec.train")


class Stepper(ABC):
    """Where a run is, and everything that a step needs.

    Attributes:
        step: updates so far.
        position: of the data.
        quantizer_started: whether quantization is on.
    """

    feeder: Feeder

    def __init__(
        self, config: Config, folder: Path, dataset: SegmentDataset, tracks: Sequence[Track], device: str
    ) -> None:
        """Build everything, at step 0.

        Args:
            config: the run.
            folder: of the experiment.
            dataset: preloaded training segments.
            tracks: pitch of the dataset's utterances, for a voiced decoder.
            device: `cpu`, or `auto` for what Accelerate finds.

        Raises:
            ConfigError: `data.on_device`, and the dataset does not keep its audio.
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
        self.observer = Observer(config, self.parts, dataset)
        self.schedule = Schedule(config)
        self.step = 0
        self.position = 0
        self.quantizer_started = False

    @abstractmethod
    def newest_checkpoint(self) -> Path | None:
        """Where the run would go back to."""

    @abstractmethod
    def _roll_back(self) -> None:
        """Go back to the newest checkpoint."""

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
            frames = initialize_quantizer(self.parts.raw_codec, self.dataset, c)
            self.parts.share_quantizer()
            self.parts.ema.copy_quantizer(self.parts.raw_codec)
            self.quantizer_started = True
            log.info("step %d: quantization on, started from %d latents", self.step, frames)
        rates = self.schedule.rates(place)
        self.parts.set_learning_rates({name: rate * self.guard.rate_scale for name, rate in rates.items()})
        started = self.parts.discriminators is not None and self.schedule.trains_discriminators(place)
        adversarial = started and self.schedule.is_adversarial(place)
        train_discriminators = started and self.step % c.discriminator.interval == 0
        values: Values = {}
        traces, scale = self._traces(), self.parts.raw_codec.scale
        statistics: list[list[Tensor]] = []
        for micro in range(t.gradient_accumulation):
            for buffer, before in zip(
                scale.buffers(), traces[0]
            ):  # the same for all of a step, as for several processes
                buffer.copy_(before)
            wav, items = self.feeder.next()
            self._items += items
            with self.parts.synchronised(micro == t.gradient_accumulation - 1):
                crops = [self.dataset.crop(*item) for item in items] if self.pitch else []
                for name, value in self._micro_step(wav, adversarial, train_discriminators, crops).items():
                    tag = name if "/" in name else f"loss/{name}"
                    values[tag] = values.get(tag, 0) + value / t.gradient_accumulation
            statistics.append([buffer.clone() for buffer in scale.buffers()])
        for buffer, *found in zip(scale.buffers(), *statistics):
            buffer.copy_(torch.stack(found).mean(0))
        self.position = self.feeder.position
        self._update(values, train_discriminators, traces)
        return values

    def _micro_step(
        self, wav: Tensor, adversarial: bool, train_discriminators: bool, crops: Sequence[Crop] = ()
    ) -> Values:
        """Gradients of one micro-batch, cut at `crops`."""
        wav = self.augmentation(wav.to(self.accelerator.device, non_blocking=True))
        pitch: Pitch | None = of_hertz(self.pitch.of(crops, wav)) if self.pitch and crops else None
        raw = self.parts.raw_discriminators
        with self.accelerator.autocast():
            output: CodecOutput = self.parts.codec(wav, quantize=self.quantizer_started, pitch=pitch)
            values: Values = {}
            pairs: list[Pair] = []
            if train_discriminators or adversarial:
                raw.requires_grad_(train_discriminators)
                discriminators: nn.Module = (
                    self.parts.discriminators if train_discriminators and self.parts.discriminators else raw
                )
                pairs = discriminators(wav, output.estimate if adversarial else output.estimate.detach())
                raw.requires_grad_(True)
        # Not under autocast, which would round gradients of what was computed in float32: losses, quantizer, decoder's head.
        if train_discriminators:
            values |= self.steps.discriminator(raw, pairs, self.accelerator.backward)
        adversarial_pairs = pairs if adversarial else ()
        values |= self.steps.generator(output, adversarial_pairs, wav, self.accelerator.backward, pitch)
        self.observer.add_output(output)
        self.codebooks.add(output)
        return values

    def _traces(self) -> tuple[list[Tensor], dict[str, Tensor]]:
        """What the passes of a step change besides gradients: latent statistics and the balancer's running norms."""
        balancer = dict(self.steps.balancer.norms) if self.steps.balancer else {}
        return [buffer.clone() for buffer in self.parts.raw_codec.scale.buffers()], balancer

    def _erase(self, traces: tuple[list[Tensor], dict[str, Tensor]]) -> None:
        """Undo the passes of a bad step: one NaN in a running mean would make every later step bad as well."""
        for buffer, old in zip(self.parts.raw_codec.scale.buffers(), traces[0]):
            buffer.copy_(old)
        if self.steps.balancer:
            self.steps.balancer.norms = traces[1]
        self.observer.drop_outputs()
        self.codebooks.reset()

    def _update(
        self,
        values: Values,
        train_discriminators: bool,
        traces: tuple[list[Tensor], dict[str, Tensor]],
    ) -> None:
        """Clip, check and apply the gradients that have been gathered."""
        values |= self.parts.clip(train_discriminators)
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
            self.parts.update(train_discriminators)
            self.step += 1
        self.parts.zero_grad()
        if action is Action.CUT:
            log.warning("step %d: learning rate cut to %g of its schedule", self.step, self.guard.rate_scale)
        if action is Action.ROLLBACK:
            self._roll_back()

    def _write_bundle(
        self, name: str, values: Mapping[str, Tensor], modules: Mapping[str, nn.Module], **facts: str
    ) -> Path:
        """Write what is needed to look into this step: its segments, seed and losses, and weights; returns where."""
        path = self.folder / "crash" / f"step_{self.step:08d}_rank{self.accelerator.process_index}_{name}.json"
        facts |= {"checkpoint": str(self.newest_checkpoint())}
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
