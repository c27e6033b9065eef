"""Speech and a degraded copy for parity tests: nothing about the pair is symmetric, so swapped arguments show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr

AUDIO = Path(__file__).parents[2] / "egs/mini/codec/local/audio"


def degraded_pair(sample_rate: int) -> tuple[np.ndarray, np.ndarray, int]:
    """(clean, degraded, rate): another loudness, noise that comes and goes, clipping."""
    wav, rate = soundfile.read(max(AUDIO.rglob("*.flac")), dtype="float32")
    clean = soxr.resample(wav[: 4 * rate], rate, sample_rate).astype(np.float32)
    noise = np.random.default_rng(3).normal(0, 0.03, len(clean)) * (np.sin(np.arange(len(clean)) / 5000) > 0)
    return clean, np.clip(0.7 * clean + noise, -0.2, 0.2).astype(np.float32), sample_rate
