"""What a codec's sample rate and 16-bit samples cost before any coding: there and back, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from audiocodec.audio import io
from audiocodec.evaluation.systems.baseline import Coded, fit
from audiocodec.metrics.pairs import FloatArray


@dataclass(frozen=True)
class Resampling:
    """16-bit PCM at `rate` Hz."""

    rate: int = 24_000

    @property
    def name(self) -> str:
        """As in `resample-24k`."""
        return f"resample-{self.rate / 1000:g}k"

    @property
    def extension(self) -> str:
        """PCM."""
        return ".wav"

    def describe(self) -> str:
        """Rate and sample format."""
        return f"16-bit PCM at {self.rate} Hz (soxr HQ)"

    def problems(self) -> list[str]:
        """None ever: the package needs nothing else for it."""
        return []

    def code(self, wav: FloatArray, sample_rate: int) -> Coded:
        """See `Baseline.code`."""
        with TemporaryDirectory(prefix="audiocodec-resample-") as folder:
            path = Path(folder) / "coded.wav"
            io.write(path, io.resample(wav, sample_rate, self.rate), self.rate)
            data = path.read_bytes()
            samples = io.read(path)[0][0]
        return Coded(data, 16 * len(samples), fit(samples, self.rate, sample_rate, len(wav)))
