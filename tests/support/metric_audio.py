"""Speech, noise and words for the tests of metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from audiocodec.audio import io

Wav = npt.NDArray[np.float32]
RATE = 16_000
AUDIO = Path(__file__).parents[2] / "egs/mini/codec/local/audio"


def clips() -> list[Wav]:
    """All clips, 4 to 6 s of four voices at 16 kHz."""
    found = [io.read(path) for path in sorted(AUDIO.rglob("*.flac"))]
    assert {rate for _, rate in found} == {RATE}
    return [wav[0] for wav, _ in found]


def noisy(wav: Wav, snr_db: float) -> Wav:
    noise = np.random.default_rng(7).normal(size=len(wav))
    noise *= np.sqrt(np.mean(wav**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return (wav + noise).astype(np.float32)


def words(count: int, rate: int = RATE) -> Wav:
    """Bursts of 300 ms between pauses of 300 ms."""
    t = np.arange(int(0.3 * rate)) / rate
    burst = 0.3 * np.sin(2 * np.pi * 200 * t) * np.hanning(len(t))
    return np.tile(np.concatenate([burst, np.zeros(len(t))]), count).astype(np.float32)


def incomparable(speech: Wav) -> list[tuple[str, Wav, Wav]]:
    """(reason, reference, estimate) of what no metric may score."""
    nan, zeros = speech.copy(), np.zeros_like(speech)
    nan[5] = np.nan
    samples = len(speech)
    return [
        ("estimate is silent", speech, zeros),
        ("reference is silent", zeros, speech),
        ("estimate holds NaN", speech, nan),
        ("reference holds NaN", nan, speech),
        (f"lengths differ: reference {samples} samples, estimate {samples - 1}", speech, speech[:-1]),
        ("reference has no samples", speech[:0], speech[:0]),
        ("reference is silent", speech[8000:8001], speech[8000:8001]),  # one sample
    ]
