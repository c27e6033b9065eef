"""What a run measures of itself: losses and codebooks between two lines of the log, speed, and validation."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from audiocodec.codec.torch import CodecOutput
from audiocodec.config.schema import Config
from audiocodec.data.dataset import SegmentDataset
from audiocodec.losses.spectral import SpectralLoss
from audiocodec.training.latents import calibrate
from audiocodec.training.monitor import validation
from audiocodec.training.monitor.alarm import CollapseAlarm
from audiocodec.training.monitor.flops import Meter
from audiocodec.training.monitor.logbook import Logbook
from audiocodec.training.monitor.statistics import CodebookStatistics
from audiocodec.training.schedule import Allowance
from audiocodec.training.setup import Parts

log = logging.getLogger("audiocodec.train")


class Observer:
    """Gathers what steps give, and tells the logbook.

    Attributes:
        valid: of `validation.read_utterances`, on the first process; empty: there is no validation.
    """

    def __init__(self, config: Config, parts: Parts, dataset: SegmentDataset) -> None:
        """Nothing is gathered yet.

        Args:
            config: of the run.
            parts: what is trained.
            dataset: whose latents set the average's scale.
        """
        self.config, self.parts, self.dataset = config, parts, dataset
        self.valid: Sequence[tuple[str, Tensor]] = ()
        q, device = config.quantizer, parts.accelerator.device
        self.statistics = CodebookStatistics(q.num_codebooks, q.codebook_size, device)
        self.alarm = CollapseAlarm(config)
        self.meter = Meter(replace(config, train=replace(config.train, precision=parts.precision)), device)
        self.validating, self._references_written = Allowance(config.train.valid_share), False
        self._recent: list[Mapping[str, Tensor]] = []  # of the steps since the last line of the log

    def add_output(self, output: CodecOutput) -> None:
        """Count the codes of one forward pass."""
        self.statistics.add(output)

    def drop_outputs(self) -> None:
        """Forget the codes counted since the last line of the log: a bad step was among them."""
        self.statistics.reset()

    def add_step(self, values: Mapping[str, Tensor], seconds: float) -> None:
        """Take note of a step that was no bad one, and how long it took."""
        self._recent.append(values)
        self.meter.add(values, seconds)

    @property
    def has_steps(self) -> bool:
        """Whether steps were taken since the last call of `collect`."""
        return bool(self._recent)

    def last_step(self) -> dict[str, float]:
        """Scalars of the last step alone, on this process."""
        values = self._recent[-1]
        return dict(zip(values, torch.stack(list(values.values())).tolist()))

    def collect(self, step: int) -> dict[str, float]:
        """Scalars since the last call: means over steps, codebook statistics summed over processes, speed."""
        if self.parts.accelerator.num_processes > 1:
            for tensor in self.statistics.tensors():
                tensor.copy_(self.parts.accelerator.reduce(tensor))
        recent, self._recent = self._recent, []
        names = dict.fromkeys(name for values in recent for name in values)
        means = {name: torch.stack([values[name] for values in recent if name in values]).mean() for name in names}
        scalars = dict(zip(means, torch.stack(list(means.values())).tolist())) if means else {}
        scalars |= self.statistics.summary()
        for line in self.alarm.observe(scalars, len(recent)):
            log.warning("step %d: %s", step, line)
        self.statistics.reset()
        return scalars | (self.meter.read() if self.parts.accelerator.is_main_process else {})

    def validate(
        self, book: Logbook, spectral: SpectralLoss, step: int, quantize: bool, *, last: bool, left: float
    ) -> None:
        """Measure the average on the validation audio and write that, and examples; not if that would take too long.

        Args:
            book: to write into.
            spectral: the training loss.
            step: of the run.
            quantize: False while the autoencoder warms up.
            last: the run ends: whatever share of the time it takes.
            left: seconds to the run's deadline.
        """
        if not self.valid or self.validating.seconds > left or not (last or self.validating.allows()):
            return
        average, c = self.parts.ema.average, self.config
        with self.validating.spending(), _varying_lengths():
            calibrate(average, self.dataset, c)
            values, examples = validation.validate(average, self.valid, spectral, quantize, c.train.valid_scores)
        book.scalars(values, step, f"validation, {self.validating.seconds:.1f} s")
        for example in examples:
            if not self._references_written:
                book.audio(f"reference/{example.name}", example.reference, c.sample_rate, step)
            book.audio(f"estimate/{example.name}", example.estimate, c.sample_rate, step)
        self._references_written = True


@contextlib.contextmanager
def _varying_lengths() -> Iterator[None]:
    """Let cuDNN not look for the fastest way of each convolution at every new length of an utterance."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
